import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const program = `
  const S3rver = require('s3rver')
  const [directory] = process.argv.slice(1)
  new S3rver({ port: 0, address: '127.0.0.1', silent: true, directory, configureBuckets: [{ name: 'vm0', configs: [] }] })
    .run().then(({ port }) => console.log(port))`

/**
 * What happens to a request: an answer of the store's own, one that breaks off after so many bytes, one that is slow or comes
 * when something else has happened, none; or it is done and nobody hears of it (`onDone` is called then).
 */
export type Fault =
  | { status: number }
  | { cutAfterBytes: number }
  | { delayMs: number }
  | { onDone: () => void }
  | { until: Promise<void> }
  | 'hang'
  | undefined

/** A real S3 server in a process of its own, behind a proxy that does to each request what `faultFor` says. */
export class S3Server {
  faultFor: (request: { method: string; url: string; number: number }) => Fault = () => undefined
  requests = 0
  private server!: Server

  private constructor(
    private readonly child: ChildProcess,
    private readonly directory: string,
    private readonly port: number,
  ) {}

  static async start(): Promise<S3Server> {
    const directory = await mkdtemp(join(tmpdir(), 'vm0-s3-'))
    const child = spawn(process.execPath, ['-e', program, directory], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
    const store = new S3Server(child, directory, Number(line))
    store.server = createServer((incoming, answer) => store.pass(incoming, answer))
    store.server.listen(0, '127.0.0.1')
    await once(store.server, 'listening')
    return store
  }

  get options() {
    return {
      endpoint: `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`,
      bucket: 'vm0',
      credentials: { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' },
    }
  }

  private pass(incoming: IncomingMessage, answer: ServerResponse): void {
    this.requests += 1
    const { method = 'GET', url = '/' } = incoming
    const fault = this.faultFor({ method, url, number: this.requests })
    if (fault === 'hang') return
    if (fault && 'status' in fault) {
      incoming.resume()
      answer.writeHead(fault.status, { 'content-type': 'application/xml' })
      answer.end('<?xml version="1.0"?><Error><Code>InternalError</Code><Message>injected</Message></Error>')
      return
    }
    const forward = (): void => {
      const { headers } = incoming
      const sent = request({ host: '127.0.0.1', port: this.port, method, path: url, headers }, (response) => {
        if (fault && 'onDone' in fault) {
          response.resume().once('end', fault.onDone)
          return
        }
        answer.writeHead(response.statusCode ?? 502, response.headers)
        if (!fault || !('cutAfterBytes' in fault)) return void response.pipe(answer)
        let left = fault.cutAfterBytes
        response.on('data', (chunk: Buffer) => {
          answer.write(chunk.subarray(0, left))
          left -= chunk.length
          if (left <= 0) answer.destroy()
        })
        response.on('end', () => answer.end())
      })
      sent.on('error', () => answer.destroy())
      incoming.on('error', () => sent.destroy())
      incoming.pipe(sent)
    }
    if (fault && 'until' in fault) void fault.until.then(forward)
    else if (fault && 'delayMs' in fault) setTimeout(forward, fault.delayMs)
    else forward()
  }

  async close(): Promise<void> {
    this.server.closeAllConnections()
    this.server.close()
    const closed = once(this.child, 'close')
    this.child.kill('SIGKILL')
    await closed
    await rm(this.directory, { recursive: true, force: true })
  }
}
