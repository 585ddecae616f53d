import { rename, writeFile } from 'node:fs/promises'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compareCursors, type Vm0Event } from '@vm0/contract'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createClient, type Run } from '../packages/vm0/src/index.js'
import { TestPlatform } from './support/platform.js'
import { workScript } from './support/scripts.js'

const hourMs = 3_600_000

/** The wall clock of the platform alone, by libfaketime; its monotonic clock and the host's clocks stay as they are. */
let folder: string
let platform: TestPlatform
const setClock = async (hours: number): Promise<void> => {
  const file = join(folder, 'clock')
  await writeFile(`${file}.new`, `${hours < 0 ? '' : '+'}${hours}h`)
  await rename(`${file}.new`, file)
}
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vm0-clock-'))
  await setClock(0)
  const env = {
    LD_PRELOAD: '/usr/$LIB/faketime/libfaketimeMT.so.1',
    FAKETIME_TIMESTAMP_FILE: join(folder, 'clock'),
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  }
  platform = await TestPlatform.start([workScript], env, { args: ['--warm', '0', '--freeze', '1', '--idle', '2'] })
})
afterAll(async () => {
  await platform?.stop()
  await rm(folder, { recursive: true, force: true })
})

async function eventsOf(run: Run, at: Vm0Event['type'], act: () => Promise<void>): Promise<Vm0Event[]> {
  const events: Vm0Event[] = []
  for await (const event of run) {
    events.push(event)
    if (event.type === at) await act()
  }
  return events
}

test.each([6, -6])(
  'the clock is set to %i hours from now in the middle of a run: it ends as it would have',
  async (hours) => {
    const run = platform.client.run({ prompt: 'take a while', limits: { timeoutMs: 120_000 } })
    const events = await eventsOf(run, 'tool.started', () => setClock(hours))
    expect(await run.result()).toMatchObject({ outcome: 'succeeded', error: null })
    // The clock was read, and the order is not its.
    const times = events.map(({ time }) => Date.parse(time))
    expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(5 * hourMs)
    const cursors = events.map(({ cursor }) => cursor)
    expect(cursors.toSorted(compareCursors)).toEqual(cursors)
    expect(events.map(({ type }) => type)).toEqual(expect.arrayContaining(['tool.finished', 'checkpoint.committed']))
    // Nobody's idle time has passed by it, and what is idle is saved when its time has.
    await run.session.files.write('/workspace/kept', String(hours))
    await expect.poll(async () => (await platform.client.runners.list())[0]!.sessions, { timeout: 30_000 }).toBe(0)
    expect(await run.session.files.readText('/workspace/kept')).toBe(String(hours))
    expect((await platform.client.runs.list({ limit: 1 })).items[0]?.id).toBe(run.id)
    await run.session.delete()
  },
)

test('a collection waits after the clock was set: what was written a moment ago would look old', async () => {
  const { session } = await platform.client.run({ prompt: 'answer' })
  await setClock(6)
  await expect(platform.client.store.gc()).rejects.toMatchObject({
    code: 'NOT_READY',
    message: expect.stringContaining('clock was set by 216') as string,
  })
  expect((await platform.client.store.fsck({ deep: true })).problems).toEqual([])
  await session.delete()
})

test('a key ends by the clock as it is, and no other key with it', async () => {
  await setClock(0)
  const { key = '' } = await platform.client.keys.create('for an hour', { expiresInMs: hourMs })
  const client = createClient({ url: platform.url, apiKey: key })
  await client.runs.list()
  await setClock(6)
  await expect(client.runs.list()).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
  await platform.client.runs.list()
  await setClock(0)
})
