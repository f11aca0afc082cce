// ConnectorConfig with what the other resources take of it.
import * as pulumi from "@pulumi/pulumi";
import type { ConnectorArgs, ConnectorConfigArgs } from "./args.ts";
import * as generated from "./resources.ts";

/**
 * Where layers are built or published: a pool, an account, a template and a storage repository. Creating it tests all of them, down to a
 * disk that is written and read back.
 */
export class ConnectorConfig extends generated.ConnectorConfig {
  /**
   * What the other resources take as `connector`. Made of the inputs, so that their checks can look at the pool already in the first
   * preview.
   */
  readonly settings: ConnectorArgs;

  constructor(name: string, args: ConnectorConfigArgs, opts?: pulumi.CustomResourceOptions) {
    super(name, args, opts);
    const { connectorId: _, password, ...settings } = args;
    this.settings = {
      ...settings,
      ...(password === undefined ? {} : { password: pulumi.secret(password) }),
      // The id is the connectorId, and stays known in a preview that updates the connector.
      connectorId: this.id,
    };
  }
}
