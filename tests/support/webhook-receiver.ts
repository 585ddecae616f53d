import { createServer } from 'node:http'
import { verifyWebhook, type WebhookMessage } from '../../packages/vm0/src/index.js'
import { listenLocally, Waiting } from './local-server.js'

export interface Received {
  path: string
  id: string
  message: WebhookMessage
}

/** What is answered: a status, one status after the other, a redirect, or nothing at all. */
export type Behaviour = number | number[] | 'hang' | 'redirect' | 'flood'

export interface WebhookReceiver {
  url: string
  /** By path: how it answers. Others answer 204. */
  behaviour: Map<string, Behaviour>
  /** By path: what its messages are signed with. */
  secrets: Map<string, string>
  received: Received[]
  /** What could not be verified; expect it to be empty. */
  problems: string[]
  /** Resolves when so many messages have come to a path. */
  until(path: string, count: number): Promise<Received[]>
  close(): Promise<void>
}

/** A server that takes webhooks as a user's would: it verifies each with the SDK. */
export async function startWebhookReceiver(): Promise<WebhookReceiver> {
  const waiting = new Waiting()
  const receiver: Pick<WebhookReceiver, 'behaviour' | 'secrets' | 'received' | 'problems'> = {
    behaviour: new Map(),
    secrets: new Map(),
    received: [],
    problems: [],
  }
  const server = createServer((request, response) => {
    void (async () => {
      const path = request.url ?? ''
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      try {
        const secret = receiver.secrets.get(path) ?? ''
        const message = verifyWebhook(Buffer.concat(chunks), request.headers, secret)
        receiver.received.push({ path, id: String(request.headers['webhook-id']), message })
      } catch (error) {
        receiver.problems.push((error as Error).message)
      }
      waiting.look()
      const behaviour = receiver.behaviour.get(path) ?? 204
      if (behaviour === 'hang') return
      if (behaviour === 'redirect') return void response.writeHead(307, { location: '/elsewhere' }).end()
      if (behaviour === 'flood') {
        response.writeHead(200)
        const chunk = Buffer.alloc(65_536)
        const flood = (): void => {
          while (response.write(chunk)) continue
        }
        response.on('drain', flood).on('error', () => undefined)
        return flood()
      }
      const status = typeof behaviour === 'number' ? behaviour : (behaviour.shift() ?? 204)
      response.writeHead(status).end()
    })()
  })
  return {
    ...receiver,
    ...(await listenLocally(server)),
    until: (path, count) =>
      waiting.for(() => {
        const found = receiver.received.filter((each) => each.path === path)
        return found.length < count ? undefined : found
      }),
  }
}
