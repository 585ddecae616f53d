import type { Socket } from 'node:net'
import { Agent, buildConnector } from 'undici'

export interface UpstreamOptions {
  /** Where it is opened to; anything but a URL: none is. */
  baseUrl: string
  headersTimeoutMs: number
  pauseTimeoutMs: number
  /** How long one that was opened ahead waits for a request. */
  aheadMs: number
}

/** Between two requests of an agent there is a tool call: the connection is kept for as long as most of them take. */
const keepAliveMs = 30_000

type Connect = buildConnector.connector
type Parameters = buildConnector.Options

/**
 * Connections to the model endpoint. One is opened ahead of a request that is about to come: name, TCP and TLS take several
 * round trips, which pass while the agent still thinks.
 */
export class UpstreamConnections {
  readonly dispatcher: Agent
  private readonly connect: Connect
  private readonly parameters: Parameters | undefined
  /** Gives undefined where it could not be opened. */
  private ahead: Promise<Socket | undefined> | undefined
  private closed = false

  constructor(private readonly options: UpstreamOptions) {
    const { baseUrl, headersTimeoutMs, pauseTimeoutMs } = options
    this.connect = buildConnector({})
    this.parameters = parametersOf(baseUrl)
    this.dispatcher = new Agent({
      headersTimeout: headersTimeoutMs,
      bodyTimeout: pauseTimeoutMs,
      keepAliveTimeout: keepAliveMs,
      connect: (parameters, callback) => this.give(parameters, callback),
    })
  }

  /** A request is about to come: there is a connection for it, or one is being opened. What fails is told by the request. */
  prepare(): void {
    const { parameters, options } = this
    if (!parameters || this.closed || this.ahead || this.hasFree) return
    const ahead = new Promise<Socket | undefined>((resolve) => {
      this.connect(parameters, (error, socket) => resolve(error ? undefined : socket))
    })
    this.ahead = ahead
    void ahead.then((socket) => {
      const forget = (): void => {
        if (this.ahead === ahead) this.ahead = undefined
      }
      if (!socket) return forget()
      if (this.closed) return void socket.destroy()
      socket.once('close', forget)
      // One that a request has taken meanwhile is that request's.
      if (this.ahead === ahead) socket.setTimeout(options.aheadMs, () => socket.destroy())
    })
  }

  async close(): Promise<void> {
    this.closed = true
    void this.ahead?.then((socket) => socket?.destroy())
    await this.dispatcher.destroy()
  }

  private give(parameters: Parameters, callback: buildConnector.Callback): void {
    const { ahead } = this
    const own = this.parameters
    if (!ahead || own?.protocol !== parameters.protocol || own.host !== parameters.host)
      return this.connect(parameters, callback)
    this.ahead = undefined
    void ahead.then((socket) => {
      if (!socket?.writable || socket.readableEnded) return this.connect(parameters, callback)
      socket.setTimeout(0)
      callback(null, socket)
    })
  }

  private get hasFree(): boolean {
    return Object.values(this.dispatcher.stats).some((pool) => 'free' in pool && pool.free > 0)
  }
}

function parametersOf(baseUrl: string): Parameters | undefined {
  if (!URL.canParse(baseUrl)) return undefined
  const { protocol, host, hostname, port } = new URL(baseUrl)
  return { protocol, host, port, hostname: hostname.replace(/^\[(.*)\]$/, '$1') }
}
