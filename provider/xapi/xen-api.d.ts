// npm xen-api has no types. Only what client.ts uses of it, private members included: seam.test.ts holds them to 4.7.6.
declare module "xen-api" {
  interface XenApiUrl {
    protocol: string;
    hostname: string;
    port: string | undefined;
  }
  export class Xapi {
    constructor(options: Record<string, unknown>);
    connect(): Promise<void>;
    disconnect(): Promise<void>;
    readonly sessionId: string;
    readonly pool: { readonly $ref: string } & Record<string, unknown>;
    _sessionId: string | undefined;
    _undiciDispatcher: unknown;
    _httpAgent: unknown;
    _transport: (method: string, args: readonly unknown[]) => Promise<unknown>;
    _setUrl(url: XenApiUrl): void;
    _call(method: string, args?: readonly unknown[], timeout?: number): Promise<unknown>;
  }
}
