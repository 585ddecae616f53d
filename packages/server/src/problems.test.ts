import { once } from 'node:events'
import { request, type ClientRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Vm0Error } from '@vm0/contract'
import fastify from 'fastify'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { tellProblems } from './problems.js'

const app = fastify({ forceCloseConnections: true })
let onRefused: () => void
beforeAll(async () => {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  tellProblems(app)
  app.post('/first-line', async ({ raw }) => {
    await raw[Symbol.asyncIterator]().next()
    onRefused()
    throw new Vm0Error('INVALID_REQUEST', 'the first line is wrong')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
})
afterAll(() => app.close())
// Time stands still unless a test lets it pass: what is answered is not answered because it took long.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

/** Sends half of what it announces, and is refused. */
async function halfSent(): Promise<{ sent: ClientRequest; answered: Promise<number | undefined> }> {
  const refused = new Promise<void>((resolve) => (onRefused = resolve))
  const { port } = app.server.address() as AddressInfo
  const headers = { 'content-type': 'application/octet-stream', 'content-length': 20 }
  const sent = request({ port, host: '127.0.0.1', path: '/first-line', method: 'POST', headers })
  const answered = once(sent, 'response').then(([response]) => (response as IncomingMessage).resume().statusCode)
  sent.write('ten bytes\n')
  await refused
  return { sent, answered }
}

test('a body that is given up half-way is read to its end, however late that comes, and then answered', async () => {
  const { sent, answered } = await halfSent()
  sent.end('ten bytes\n')
  expect(await answered).toBe(400)
})

test('one whose rest never comes is answered after a while', async () => {
  const { sent, answered } = await halfSent()
  await vi.waitFor(() => expect(vi.getTimerCount()).toBeGreaterThan(0), { interval: 1 })
  vi.advanceTimersByTime(5_000)
  expect(await answered).toBe(400)
  sent.destroy()
})
