import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { randomFrom } from './random.js'

/**
 * A TCP proxy that breaks each connection after a random number of answered bytes (or of sent ones), for as long as it has
 * cuts left, and counts what passes.
 */
export class CuttingProxy {
  cuts = 0
  sentBytes = 0
  answeredBytes = 0
  private readonly sockets = new Set<Socket>()
  private readonly server

  private constructor(
    target: URL,
    private readonly random: () => number,
    private readonly options: CuttingOptions,
  ) {
    this.server = createServer((client) => {
      const upstream = connect(Number(target.port), target.hostname)
      for (const socket of [client, upstream]) {
        this.sockets.add(socket)
        socket.on('error', () => undefined)
        socket.once('close', () => {
          this.sockets.delete(socket)
          client.destroy()
          upstream.destroy()
        })
      }
      client.pipe(upstream)
      let left = this.allowance()
      client.on('data', (chunk) => {
        this.sentBytes += chunk.length
        if (!options.sent) return
        left -= chunk.length
        if (left > 0) return
        this.cuts += 1
        left = Infinity
        client.resetAndDestroy()
        upstream.destroy()
      })
      upstream.on('data', (chunk) => {
        this.answeredBytes += chunk.length
        if (options.sent) {
          client.write(chunk)
          return
        }
        if (chunk.length < left) {
          left -= chunk.length
          client.write(chunk)
          return
        }
        this.cuts += 1
        // Half of the cuts are a reset, half an orderly end in the middle of the answer.
        client.write(chunk.subarray(0, left))
        if (this.random() < 0.5) client.resetAndDestroy()
        else client.end()
        upstream.destroy()
      })
      upstream.on('end', () => client.end())
    })
  }

  static async start(target: string, seed: number, options: CuttingOptions): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(new URL(target), randomFrom(seed), options)
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

  private allowance(): number {
    const { maxCuts, minBytes, maxBytes } = this.options
    return this.cuts >= maxCuts ? Infinity : minBytes + Math.floor(this.random() * (maxBytes - minBytes))
  }
}

interface CuttingOptions {
  maxCuts: number
  minBytes: number
  maxBytes: number
  /** Cut by what is sent, instead of by what is answered. */
  sent?: boolean
}
