// How a resource reaches its pool: the connector's address and trust, credentials from where they are to be found.
import { credentials } from "./connector.ts";
import type { ConnectorCredentials, FrontContext } from "./resource.ts";
import { connect, type Xapi } from "./xapi/client.ts";

export function connectFor(ctx: FrontContext, connector: ConnectorCredentials): Promise<Xapi> {
  const { address, transferOverTls } = connector;
  const { verify, caCertificate, fingerprints } = connector.tls ?? {};
  return connect(
    {
      address,
      ...credentials(ctx, connector),
      ...(connector.tls === undefined
        ? {}
        : {
            tls: {
              ...(verify === undefined ? {} : { verify }),
              ...(caCertificate === undefined ? {} : { caCertificate }),
              ...(fingerprints === undefined ? {} : { fingerprints }),
            },
          }),
      ...(transferOverTls === undefined ? {} : { transferOverTls }),
    },
    { signal: ctx.signal },
  );
}
