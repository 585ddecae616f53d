import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestPlatform } from './support/platform.js'
import { workScript } from './support/scripts.js'

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([workScript], {
    VM0_REQUESTS_PER_SECOND: '5',
    VM0_REQUEST_BURST: '40',
    VM0_EVENT_STREAMS: '2',
    VM0_QUEUED_RUNS: '3',
  })
})
afterAll(() => platform.stop())

test('a key that asks too fast is told when to come again; other keys go on, and a client that waits gets through', async () => {
  const { key, client } = await platform.project('fast')
  const answers = await Promise.all(Array.from({ length: 60 }, () => platform.fetch('/v1/runs', { key })))
  const refused = answers.filter(({ status }) => status === 429)
  expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(40)
  expect(refused.length).toBeGreaterThan(0)
  expect(await refused[0]!.json()).toMatchObject({ code: 'RATE_LIMITED', retryable: true })
  expect(Number(refused[0]!.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
  expect((await platform.fetch('/v1/runs')).status).toBe(200)
  expect((await client.runs.list()).items).toEqual([])
})

test('a key has so many event streams open at a time; one that is closed makes room', async () => {
  const { key, client } = await platform.project('streams')
  const run = client.run({ prompt: 'hang' })
  await run.get()
  const open = () => platform.fetch(`/v1/runs/${run.id}/events`, { key })
  const [first, second] = [await open(), await open()]
  const third = await open()
  expect([first.status, second.status, third.status]).toEqual([200, 200, 429])
  expect(await third.json()).toMatchObject({ code: 'RATE_LIMITED', detail: expect.stringContaining('2 event streams') })
  await first.body!.cancel()
  await expect
    .poll(
      async () => {
        const again = await open()
        await again.body?.cancel()
        return again.status
      },
      { interval: 300 },
    )
    .toBe(200)
  await second.body!.cancel()
  await run.cancel()
})

test('a project has so many runs waiting; other projects have their own room', async () => {
  const { client } = await platform.project('queue')
  const session = await client.sessions.create()
  const atWork = session.run('hang')
  for await (const event of atWork) if (event.type === 'model.request') break
  const waiting = ['one', 'two', 'three'].map((name) => session.run({ prompt: 'hang', labels: { name } }))
  await Promise.all(waiting.map((run) => run.get()))
  const before = await client.runs.list()
  const { key } = await platform.project('queue-other')
  const post = (project: string | undefined, body: object) =>
    platform.fetch('/v1/runs', { method: 'POST', body: JSON.stringify(body), ...(project ? { key: project } : {}) })
  const { key: again = '' } = await platform.client.keys.create('again', { projectId: 'queue' })
  const refused = await post(again, { prompt: 'hang', sessionId: session.id })
  expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([429, 'QUEUE_FULL'])
  expect(refused.headers.get('retry-after')).toBe('2')
  // A refused request leaves nothing, not even the session that it would have made.
  expect((await post(again, { prompt: 'hang' })).status).toBe(429)
  expect((await client.sessions.list()).items.map(({ id }) => id)).toEqual([session.id])
  expect(await client.runs.list()).toEqual(before)
  expect((await post(key, { prompt: 'answer me' })).status).toBe(201)
  for (const run of [...waiting, atWork]) await run.cancel()
  expect((await atWork.result()).outcome).toBe('cancelled')
})

test('a limit that is no number is refused at the start', async () => {
  await expect(TestPlatform.start([workScript], { VM0_QUEUED_RUNS: 'many' })).rejects.toThrow(
    'VM0_QUEUED_RUNS is "many"; expected a whole number from 1 on',
  )
})
