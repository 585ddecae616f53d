import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { startScriptedModel } from '@vm0/testkit'

/** A model endpoint that knows when each prompt's first request arrived. Prompts carry a tag such as `bench-a1`. */
export interface ModelFront {
  readonly url: string
  /** Resolves with the arrival (milliseconds of performance.now) of the first request whose prompt carries the tag. */
  arrival(tag: string): Promise<number>
  close(): Promise<void>
}

/** Stamps at the head of a request, before its body is read, then hands it to the scripted model. */
export async function startModelFront(): Promise<ModelFront> {
  const model = await startScriptedModel([
    {
      name: 'bench',
      conversations: [
        {
          when: 'bench-warmup',
          steps: [{ tools: [{ name: 'Bash', input: { command: 'true', description: 'Warm up' } }] }, { text: 'ready' }],
        },
        { when: 'bench-', steps: [{ text: 'done' }] },
      ],
    },
  ])
  const upstream = new URL(model.url)
  const waiting = new Map<string, (at: number) => void>()
  const server = createServer((incoming, response) => {
    const at = performance.now()
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      const body = Buffer.concat(chunks)
      if (incoming.url?.startsWith('/v1/messages') && !incoming.url.includes('count_tokens')) {
        for (const [tag] of body.toString('latin1').matchAll(/bench-[a-z0-9]+/g)) {
          waiting.get(tag)?.(at)
          waiting.delete(tag)
        }
      }
      const { host, port } = upstream
      const forwarded = request(
        { host: host.split(':')[0], port, path: incoming.url, method: incoming.method, headers: incoming.headers },
        (answer) => {
          response.writeHead(answer.statusCode ?? 502, answer.headers)
          answer.pipe(response)
        },
      )
      forwarded.on('error', () => response.destroy())
      forwarded.end(body)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    arrival: (tag) => new Promise((resolve) => waiting.set(tag, resolve)),
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
      await model.close()
    },
  }
}
