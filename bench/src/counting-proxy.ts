import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** A TCP proxy that counts the bytes that pass, both ways. */
export class CountingProxy {
  bytes = 0
  private readonly sockets = new Set<Socket>()
  private readonly server: Server

  private constructor(target: URL) {
    this.server = createServer((client) => {
      const upstream = connect(Number(target.port), target.hostname)
      for (const [from, to] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        this.sockets.add(from)
        from.on('data', (chunk) => (this.bytes += chunk.length)).pipe(to)
        from.on('error', () => undefined)
        from.once('close', () => {
          this.sockets.delete(from)
          to.destroy()
        })
      }
    })
  }

  static async start(target: string): Promise<CountingProxy> {
    const proxy = new CountingProxy(new URL(target))
    await new Promise<void>((resolve) => proxy.server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise((resolve) => this.server.close(resolve))
  }
}
