import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { compareCursors, type EventType, type RunView, type Vm0Event } from '@vm0/contract'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { onHost } from './support/leftovers.js'
import { TestPlatform } from './support/platform.js'
import { uint32From } from './support/random.js'
import { workScript } from './support/scripts.js'

let platform: TestPlatform
/** Of each session, the lines that its runs have left in its file for good. */
const lines = new Map<string, number>()
/** Every run that the server said it had taken, over all the lives of the platform. */
const accepted = new Set<string>()
let oldSession: string

beforeAll(async () => {
  // What is on the host must be what the runs left: no sandbox waits warm.
  platform = await TestPlatform.start([workScript], {}, { args: ['--warm', '0'] })
  const run = platform.client.run({ prompt: 'append a line' })
  await run
  oldSession = run.session.id
  accepted.add(run.id)
  lines.set(oldSession, 1)
})
afterAll(() => platform?.stop())

interface Work {
  /** In a session that was worked in before, the next one behind it, and one in a new session. */
  ids: [first: string, next: string, fresh: string]
  /** Sent, and cut off by the kill: taken or not. */
  unsure: string
}

async function startWork(): Promise<Omit<Work, 'unsure'>> {
  const ids: Work['ids'] = [randomUUID(), randomUUID(), randomUUID()]
  for (const [n, id] of ids.entries()) {
    const response = await send(id, n < 2 ? { sessionId: oldSession } : {})
    expect(response.status).toBe(201)
    accepted.add(id)
  }
  return { ids }
}

function send(id: string, body: object): Promise<Response> {
  return platform.fetch('/v1/runs', { method: 'POST', body: JSON.stringify({ id, prompt: 'append a line', ...body }) })
}

async function sawEvent(runId: string, type: EventType): Promise<void> {
  for await (const event of platform.client.runs.get(runId)) if (event.type === type) return
  throw new Error(`run ${runId} ended without ${type}`)
}

async function allRuns(): Promise<Map<string, RunView>> {
  const all = new Map<string, RunView>()
  for (let before: string | undefined; ;) {
    const page = await platform.client.runs.list({ limit: 200, ...(before ? { before } : {}) })
    for (const run of page.items) all.set(run.id, run)
    if (page.next === null) return all
    before = page.next
  }
}

/** The whole story of a run that has ended, as the log and the row tell it together. */
async function history(run: RunView): Promise<Vm0Event[]> {
  const response = await platform.fetch(`/v1/runs/${run.id}/events`, { headers: { accept: 'application/x-ndjson' } })
  const events = (await response.text()).split('\n').filter(Boolean)
  return events.map((line) => JSON.parse(line) as Vm0Event)
}

function expectWholeStory(run: RunView, events: Vm0Event[]): void {
  expect(events[0]).toMatchObject({ type: 'run.queued', runId: run.id })
  expect(events.filter(({ type }) => type === 'run.queued' || type === 'run.finished').length).toBe(2)
  expect(events.at(-1)).toMatchObject({ type: 'run.finished', outcome: run.state, reason: run.reason })
  for (let n = 1; n < events.length; n++)
    expect(compareCursors(events[n - 1]!.cursor, events[n]!.cursor)).toBeLessThan(0)
  const saved = events.filter((event) => event.type === 'checkpoint.committed' && event.cause === 'run')
  // A crash may come between the row and the log: then the row alone has the checkpoint.
  for (const event of saved) expect(event).toMatchObject({ checkpoint: run.checkpoint })
}

/** What must hold of the rows, logs, sessions and the host after a restart, whenever the kill came. */
async function expectConsistent({ ids, unsure }: Work, died: { reasons: string[]; maySave: boolean }): Promise<void> {
  const found = await allRuns()
  for (const id of accepted) expect([id, found.has(id)]).toEqual([id, true])
  const mine = [...ids, ...(found.has(unsure) ? [unsure] : [])]
  accepted.add(mine.at(-1)!)
  const ended = new Map<string, RunView>()
  for (const id of mine) {
    const run = platform.client.runs.get(id)
    await run.result()
    const view = await run.get()
    if (view.state !== 'succeeded') {
      expect(view).toMatchObject({ state: 'died', error: { code: 'HOST_LOST' } })
      expect(died.reasons).toContain(view.reason)
    }
    // What was waiting when it came was carried out afterwards; only what was at work could die.
    if (found.get(id)!.state === 'queued') expect([id, view.state]).toEqual([id, 'succeeded'])
    expectWholeStory(view, await history(view))
    ended.set(id, view)
  }
  for (const sessionId of new Set([...ended.values()].map((run) => run.sessionId))) {
    const runs = [...ended.values()].filter((run) => run.sessionId === sessionId)
    const session = platform.client.sessions.get(sessionId)
    const count = (state: string) => runs.filter((run) => run.state === state).length
    const least = (lines.get(sessionId) ?? 0) + count('succeeded')
    const most = least + (died.maySave ? count('died') : 0)
    if (!died.maySave && count('succeeded') > 0) {
      const last = [...(await allRuns()).values()].find(
        (run) => run.sessionId === sessionId && run.state === 'succeeded',
      )
      expect((await session.get()).head).toBe(last?.checkpoint)
    }
    const text = await session.files.readText('/workspace/lines.txt').catch(() => '')
    const now = text.split('\n').length - 1
    expect(now).toBeGreaterThanOrEqual(least)
    expect(now).toBeLessThanOrEqual(most)
    lines.set(sessionId, now)
    await session.close()
  }
  await expectNothingLeft(true)
}

/** With all its sessions closed, a platform that runs has its gateway and itself on the host, and nothing of an earlier life. */
async function expectNothingLeft(runs: boolean): Promise<void> {
  await expect
    .poll(
      async () => {
        const { links, tables, slots, processes, ...rest } = await onHost(platform.dataDir)
        return {
          ...rest,
          links: links.map((name) => name[0]).toSorted(),
          tables: tables.length,
          slots: slots.length,
          processes: processes.map((name) => /daemon-main\.js|flock|vm0-watchdog/.exec(name)?.[0] ?? name).toSorted(),
        }
      },
      { timeout: 20_000 },
    )
    .toEqual({
      links: runs ? ['g', 'h'] : [],
      tables: runs ? 1 : 0,
      slots: runs ? 1 : 0,
      // the platform, what holds the lock of its data folder, and what lets go of sandboxes when it is killed
      processes: runs ? ['daemon-main.js', 'flock', 'vm0-watchdog'] : [],
      cgroups: [],
      containers: [],
      loops: [],
      mounts: [],
    })
}

const nothingDies = { reasons: [], maySave: false }

test.each<EventType>([
  'run.queued',
  'sandbox.ready',
  'model.request',
  'tool.started',
  'agent.finished',
  'checkpoint.committed',
  'run.finished',
])('killed at %s of a run', async (type) => {
  const work = await startWork()
  await sawEvent(work.ids[0], type)
  const unsure = randomUUID()
  const cutOff = send(unsure, { sessionId: oldSession }).catch(() => undefined)
  await platform.kill()
  await cutOff
  await platform.up()
  await expectConsistent({ ...work, unsure }, nothingDies)
})

/** Delays from a fixed seed: the same kills at each test run, as far as the machine allows. */
function delays(seed: number, count: number, maxMs: number): number[] {
  const next = uint32From(seed)
  return Array.from({ length: count }, () => next() % maxMs)
}

test.each(delays(20261124, 6, 3_500))('killed %i ms after its runs were taken', async (afterMs) => {
  const work = await startWork()
  await wait(afterMs)
  const unsure = randomUUID()
  const cutOff = send(unsure, { sessionId: oldSession }).catch(() => undefined)
  await platform.kill()
  await cutOff
  await platform.up()
  await expectConsistent({ ...work, unsure }, nothingDies)
})

test('killed anywhere between the row of a run and its log: whatever part of the log there is, the story is whole', async () => {
  const cuts: [what: string, cut: (log: string) => string][] = [
    ['nothing yet', () => ''],
    ['all but the last event', (log) => log.slice(0, log.lastIndexOf('\n', log.length - 2) + 1)],
    ['an event cut in its middle', (log) => log.slice(0, log.indexOf('"checkpoint.committed"'))],
  ]
  const runs = cuts.map(() => platform.client.run({ prompt: 'append a line' }))
  await Promise.all(runs)
  await platform.kill()
  for (const [n, [, cut]] of cuts.entries()) {
    const path = join(platform.dataDir, 'events/default', runs[n]!.session.id, `${runs[n]!.id}.ndjson`)
    await writeFile(path, cut(await readFile(path, 'utf8')))
  }
  await platform.up()
  for (const { id } of runs) {
    accepted.add(id)
    const run = platform.client.runs.get(id)
    const view = await run.get()
    const events = await history(view)
    expectWholeStory(view, events)
    expect(events.at(-1)).toMatchObject({ outcome: 'succeeded' })
    const followed: Vm0Event[] = []
    for await (const event of run) followed.push(event)
    expect(followed).toEqual(events)
  }
  // They were idle when the platform was killed: they still have their sandboxes.
  for (const { session } of runs) await platform.client.sessions.get(session.id).close()
})

test('killed again and again while it starts, with work left over', async () => {
  const work = await startWork()
  await sawEvent(work.ids[0], 'tool.started')
  await platform.kill()
  for (const afterMs of delays(7, 4, 2_500)) await platform.upAndKill(afterMs)
  await platform.up()
  await expectConsistent({ ...work, unsure: randomUUID() }, nothingDies)
})

test('the command in front of it is killed: it saves what it has, and the next one waits for that', async () => {
  const work = await startWork()
  await sawEvent(work.ids[0], 'tool.started')
  await platform.signal('SIGKILL', 'exit')
  await platform.up()
  await expectConsistent({ ...work, unsure: randomUUID() }, { reasons: ['platform_stopped'], maySave: true })
})

test('killed while it stops', async () => {
  const work = await startWork()
  await sawEvent(work.ids[0], 'tool.started')
  const following = platform.client.runs.get(work.ids[0]).result()
  const stopping = platform.signal('SIGTERM')
  await following
  await platform.kill()
  await stopping
  await platform.up()
  await expectConsistent(
    { ...work, unsure: randomUUID() },
    { reasons: ['platform_stopped', 'host_lost'], maySave: true },
  )
})

test('after all of it, a platform that is stopped leaves nothing on the host', async () => {
  await platform.signal('SIGTERM')
  await expectNothingLeft(false)
})
