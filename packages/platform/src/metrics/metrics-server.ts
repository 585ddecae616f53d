import { once } from 'node:events'
import { createServer } from 'node:http'
import { isIPv6, type AddressInfo } from 'node:net'
import { Vm0Error } from '@vm0/contract'
import type { Metrics } from './registry.js'

export interface MetricsServer {
  /** Such as http://127.0.0.1:9464/metrics */
  url: string
  close(): Promise<void>
}

/**
 * `GET /metrics` at an address of its own, which is the operator's choice: whoever reaches it sees the figures of all
 * projects and needs no key, so it is not the address of the API.
 */
export async function serveMetrics(address: string, metrics: Metrics): Promise<MetricsServer> {
  const { host, port } = addressOf(address)
  let scrape: Promise<string> | undefined
  const server = createServer((request, response) => {
    if (request.url?.split('?')[0] !== '/metrics' || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('GET /metrics is all there is\n')
      return
    }
    // Many who ask at once are given one answer.
    scrape ??= metrics.text().finally(() => (scrape = undefined))
    scrape.then(
      (text) => response.writeHead(200, { 'content-type': metrics.registry.contentType }).end(text),
      () => response.writeHead(500, { 'content-type': 'text/plain' }).end('the metrics could not be read\n'),
    )
  })
  server.requestTimeout = 30_000
  server.listen(port, host)
  await once(server, 'listening').catch((cause: unknown) => {
    throw new Vm0Error('INVALID_REQUEST', `VM0_METRICS: ${address} can't be listened at: ${(cause as Error).message}`, {
      cause,
      hint: 'Set VM0_METRICS to a free address of this host, such as 127.0.0.1:9464, or unset it.',
    })
  })
  const bound = server.address() as AddressInfo
  return {
    url: `http://${isIPv6(bound.address) ? `[${bound.address}]` : bound.address}:${bound.port}/metrics`,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** `host:port`, `[::1]:port`, or a port of 127.0.0.1; throws INVALID_REQUEST. */
export function addressOf(text: string): { host: string; port: number } {
  const [, bracketed, plain, digits] = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+)):)?(\d{1,5})$/.exec(text) ?? []
  const port = Number(digits)
  if (digits === undefined || port > 65_535)
    throw new Vm0Error('INVALID_REQUEST', `VM0_METRICS is ${JSON.stringify(text)}; expected an address and a port`, {
      hint: 'Set VM0_METRICS to an address such as 127.0.0.1:9464 in the environment of `vm0 up`, or unset it.',
    })
  return { host: bracketed ?? plain ?? '127.0.0.1', port }
}
