import { once } from 'node:events'
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import type { Gateway, GatewayOptions, ModelTraffic } from './gateway.js'
import type { Exchange } from './gateway.js'
import { startGateway } from './start-gateway.js'

type Handler = (request: IncomingMessage, response: ServerResponse) => void
type Ended = Parameters<ModelTraffic['onEnd']>[0]

const open: { close(): unknown }[] = []
afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.close()
})

/** A model endpoint that answers by `handle`, and a gateway in front of it in which loopback is a sandbox. */
async function start(
  handle: Handler,
  options: Partial<GatewayOptions> = {},
): Promise<{ gateway: Gateway; ended: () => Promise<Ended>; progress: () => number }> {
  const upstream: Server = createServer(handle).listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  open.push({ close: () => (upstream.closeAllConnections(), upstream.close()) })
  const { port } = upstream.address() as AddressInfo
  const gateway = await startGateway({
    host: '127.0.0.1',
    port: 0,
    upstream: { baseUrl: `http://127.0.0.1:${port}`, apiKey: 'the key' },
    ...options,
  })
  open.push(gateway)
  const ends: Ended[] = []
  const waiting: ((end: Ended) => void)[] = []
  let pieces = 0
  gateway.register('127.0.0.1', {
    onRequest: () => undefined,
    onFirstByte: () => undefined,
    onProgress: () => (pieces += 1),
    onEnd: (end) => (waiting.shift() ?? ((each: Ended) => ends.push(each)))(end),
  })
  return {
    gateway,
    progress: () => pieces,
    ended: async () => ends.shift() ?? new Promise((resolve) => waiting.push(resolve)),
  }
}

const post = (gateway: Gateway, init: RequestInit = {}) =>
  fetch(`http://127.0.0.1:${gateway.port}/v1/messages`, { method: 'POST', body: '{}', ...init })

test('the key is put in, and what the sandbox sent as a key goes no further', async () => {
  let seen: IncomingMessage['headers'] = {}
  const { gateway, ended, progress } = await start(({ headers }, response) => {
    seen = headers
    response.end('answer')
  })
  const headers = { 'x-api-key': 'mine', authorization: 'Bearer mine', cookie: 'a=b' }
  expect(await (await post(gateway, { headers })).text()).toBe('answer')
  expect(seen).toMatchObject({ 'x-api-key': 'the key' })
  expect([seen.authorization, seen.cookie]).toEqual([undefined, undefined])
  expect(await ended()).toMatchObject({ status: 200, path: '/v1/messages' })
  expect(progress()).toBe(1)
})

test.each<[string, Handler, number, RegExp]>([
  ['nothing', () => undefined, 502, /did not begin its answer in time/],
  ['a reset', ({ socket }) => socket.resetAndDestroy(), 502, /could not be used/],
  [
    'a header of a megabyte',
    (_, response) => response.writeHead(200, { huge: 'x'.repeat(1024 ** 2) }).end(),
    502,
    /could not be used/,
  ],
  [
    'a redirect',
    (_, response) => response.writeHead(302, { location: 'http://elsewhere/' }).end(),
    400,
    /redirects to http:\/\/elsewhere/,
  ],
])(
  '%s from the endpoint is an error of its protocol for the sandbox, and is told',
  async (_name, handle, status, told) => {
    const { gateway, ended } = await start(handle, { headersTimeoutMs: 1000 })
    const response = await post(gateway, { redirect: 'manual' })
    expect(response.status).toBe(status)
    const { type, error } = (await response.json()) as { type: string; error: { message: string } }
    expect(type).toBe('error')
    expect(error.message).toMatch(told)
    expect(await ended()).toMatchObject({ status, failure: expect.stringMatching(told) })
  },
)

test('what passes is counted by the host that it goes to, whatever comes of it; what is refused here goes nowhere', async () => {
  const exchanges: Exchange[] = []
  const answers = ['a'.repeat(100_000), 'b']
  const { gateway, ended } = await start(
    (incoming, response) => void incoming.resume().on('end', () => response.end(answers.shift())),
    { onExchange: (exchange) => exchanges.push(exchange), maxRequestBytes: 1000 },
  )
  await (await post(gateway, { body: 'x'.repeat(500) })).text()
  await ended()
  expect((await post(gateway, { body: 'x'.repeat(2000) })).status).toBe(413)
  await (await post(gateway, { body: 'x' })).text()
  while (exchanges.length < 2) await new Promise((resolve) => setImmediate(resolve))
  expect(exchanges).toEqual([
    { destination: '127.0.0.1', sentBytes: 500, receivedBytes: 100_000 },
    { destination: '127.0.0.1', sentBytes: 1, receivedBytes: 1 },
  ])
})

test('an endpoint that is not there is told as that', async () => {
  const { gateway, ended } = await start(() => undefined, { upstream: { baseUrl: 'http://127.0.0.1:9', apiKey: '' } })
  expect((await post(gateway)).status).toBe(502)
  expect(await ended()).toMatchObject({ failure: expect.stringContaining('ECONNREFUSED') })
})

test.each<[string, (socket: IncomingMessage['socket']) => void, RegExp]>([
  ['pauses too long', () => undefined, /stopped in the middle/],
  ['breaks off', (socket) => socket.destroy(), /could not be used/],
])('a stream that %s is broken off for the sandbox too', async (_name, then, told) => {
  const { gateway, ended } = await start(({ socket }, response) => response.write('first', () => then(socket)), {
    pauseTimeoutMs: 1000,
  })
  const response = await post(gateway)
  await expect(response.text()).rejects.toThrow()
  expect(await ended()).toMatchObject({ status: 200, failure: expect.stringMatching(told) })
})

test('a sandbox that leaves ends the request at the endpoint, and it counts as not answered', async () => {
  let left: Promise<unknown> = Promise.resolve()
  const leaving = new AbortController()
  const { gateway, ended } = await start((incoming) => {
    left = once(incoming.socket, 'close')
    leaving.abort()
  })
  await expect(post(gateway, { signal: leaving.signal })).rejects.toThrow()
  expect(await ended()).toMatchObject({ status: 499, failure: expect.stringMatching(/did not wait/) })
  await left
})

test('one sandbox has a bounded number of requests and connections, and no other address has any', async () => {
  const answers: (() => void)[] = []
  const { gateway } = await start((_, response) => answers.push(() => response.end('late')), { maxOpenRequests: 3 })
  const requests = [post(gateway), post(gateway), post(gateway)]
  while (answers.length < 3) await new Promise((resolve) => setImmediate(resolve))
  expect((await post(gateway)).status).toBe(429)
  const sockets = Array.from({ length: 10 }, () => connect(gateway.port, '127.0.0.1'))
  await Promise.race(sockets.map((socket) => once(socket, 'close')))
  for (const socket of sockets) socket.destroy()
  for (const answer of answers) answer()
  expect(await Promise.all(requests.map(async (each) => (await each).status))).toEqual([200, 200, 200])
  const { address, port } = { address: '127.0.0.2', port: gateway.port }
  const other = request({ host: '127.0.0.1', port, localAddress: address, path: '/v1/messages' }).end()
  const [refused] = (await once(other, 'response')) as [IncomingMessage]
  expect(refused.resume().statusCode).toBe(403)
})

test('a request over the limit is refused, told ahead or not', async () => {
  const { gateway } = await start((incoming, response) => void incoming.on('end', () => response.end()).resume(), {
    maxRequestBytes: 1000,
  })
  expect((await post(gateway, { body: 'x'.repeat(2000) })).status).toBe(413)
  const pieces = new ReadableStream({
    start: (controller) => (controller.enqueue(new Uint8Array(2000)), controller.close()),
  })
  expect((await post(gateway, { body: pieces, duplex: 'half' } as RequestInit)).status).toBe(413)
})

test('a connection that was opened ahead is the one that the next request takes', async () => {
  const { upstream, connections, connected } = await countingEndpoint()
  const gateway = await gatewayOf(upstream)
  gateway.expectRequest()
  gateway.expectRequest()
  await connected(1)
  expect(await (await post(gateway)).text()).toBe('answer 1')
  // It is free again: nothing has to be opened for the one after.
  gateway.expectRequest()
  expect(await (await post(gateway)).text()).toBe('answer 2')
  expect(connections()).toBe(1)
})

test('one that no request takes is given back; one that the endpoint closed is not used', async () => {
  const { upstream, connections, connected, closed, closeAll } = await countingEndpoint()
  const gateway = await gatewayOf(upstream, { aheadMs: 50 })
  gateway.expectRequest()
  await connected(1)
  await closed(1)
  const patient = await gatewayOf(upstream)
  patient.expectRequest()
  await connected(2)
  closeAll()
  await closed(2)
  expect(await (await post(patient)).text()).toBe('answer 1')
  expect(connections()).toBe(3)
})

test('where none can be opened the request tells it', async () => {
  const { upstream } = await countingEndpoint()
  upstream.close()
  const gateway = await gatewayOf(upstream)
  gateway.expectRequest()
  const response = await post(gateway)
  expect(response.status).toBe(502)
})

/** A model endpoint that tells how many connections it has had, and numbers its answers. */
async function countingEndpoint() {
  let answers = 0
  let opened = 0
  let ended = 0
  const changed = new EventTarget()
  const until = async (isSo: () => boolean): Promise<void> => {
    while (!isSo()) await new Promise((resolve) => changed.addEventListener('change', resolve, { once: true }))
  }
  const upstream = createServer((_, response) => response.end(`answer ${(answers += 1)}`))
  upstream.on('connection', (socket) => {
    opened += 1
    changed.dispatchEvent(new Event('change'))
    socket.once('close', () => {
      ended += 1
      changed.dispatchEvent(new Event('change'))
    })
  })
  upstream.listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  const closeAll = (): void => upstream.closeAllConnections()
  open.push({ close: () => (closeAll(), upstream.close()) })
  return {
    upstream: Object.assign(upstream, { port: (upstream.address() as AddressInfo).port }),
    connections: () => opened,
    connected: (count: number) => until(() => opened >= count),
    closed: (count: number) => until(() => ended >= count),
    closeAll,
  }
}

async function gatewayOf({ port }: { port: number }, options: Partial<GatewayOptions> = {}): Promise<Gateway> {
  const upstream = { baseUrl: `http://127.0.0.1:${port}`, apiKey: 'the key' }
  const gateway = await startGateway({ host: '127.0.0.1', port: 0, upstream, ...options })
  open.push(gateway)
  gateway.register('127.0.0.1', {
    onRequest: () => undefined,
    onFirstByte: () => undefined,
    onProgress: () => undefined,
    onEnd: () => undefined,
  })
  return gateway
}
