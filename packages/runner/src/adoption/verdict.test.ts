import type { JournalEntry } from '@vm0/contract'
import { expect, test } from 'vitest'
import { tell, type Story } from './story.js'
import { verdict, type OwnedSession } from './verdict.js'

const session: JournalEntry = { t: 'session', v: 1, projectId: 'p', sessionId: 's', base: null, epoch: 3, atMs: 1 }
const read = { out: 0, err: 0 }
const agent: JournalEntry = {
  t: 'agent',
  process: 'agent-1',
  framework: 'claude-code',
  version: '2',
  resumed: false,
  read,
  spec: '',
}
const run: JournalEntry = {
  t: 'run',
  runId: 'r',
  how: 'cold',
  read,
  queuedMs: 1,
  sandboxReadyMs: 2,
  boundMs: 2,
  pool: null,
}
const call = { t: 'call' as const, n: 1, after: 0, args: '', ids: ['a'], atMs: 5 }
const prompt: JournalEntry = { ...call, method: 'prompt' }

const story = (...entries: JournalEntry[]): Story => tell([session, ...entries]) as Story
const owned = (state?: string, epoch = 3): OwnedSession => ({
  projectId: 'p',
  sessionId: 's',
  epoch,
  run: state === undefined ? undefined : { id: 'r', state },
})
const decide = (
  row: OwnedSession,
  stories: Record<string, Story | undefined>,
  living: string[] = Object.keys(stories),
) => verdict(row, new Map(Object.entries(stories)), new Set(living))

test('a run whose prompt the last agent of a living sandbox has goes on', () => {
  expect(decide(owned('running'), { a: story(agent, run, prompt) })).toEqual({ what: 'go on', sandbox: 'a' })
  expect(decide(owned('starting'), { a: story(agent, run, prompt) })).toEqual({ what: 'go on', sandbox: 'a' })
})

test('a run whose prompt nobody was given begins, in the sandbox that is there', () => {
  expect(decide(owned('starting'), { a: story(agent, run) })).toEqual({ what: 'begin', sandbox: 'a' })
  expect(decide(owned('starting'), { a: story() }, [])).toEqual({ what: 'begin', sandbox: undefined })
  expect(decide(owned('starting'), {})).toEqual({ what: 'begin', sandbox: undefined })
})

test('a run whose prompt may have reached an agent that is gone is lost', () => {
  expect(decide(owned('running'), {})).toEqual({ what: 'lost' })
  expect(decide(owned('starting'), { a: story(agent, run, prompt) }, [])).toEqual({ what: 'lost' })
  expect(decide(owned('starting'), { a: story(agent, run, prompt, agent) })).toEqual({ what: 'lost' })
  expect(decide(owned('starting'), { another: undefined }, [])).toEqual({ what: 'lost' })
})

test('a session without a run keeps its newest sandbox', () => {
  const newer = tell([{ ...session, atMs: 2 }]) as Story
  expect(decide(owned(), { a: story(), b: newer })).toEqual({ what: 'keep', sandbox: 'b' })
  expect(decide(owned(), { a: story() }, [])).toEqual({ what: 'release' })
})

test('a sandbox of before the session was rolled back, or of another session, is nobody’s', () => {
  expect(decide(owned(undefined, 4), { a: story() })).toEqual({ what: 'release' })
  expect(decide({ ...owned(), projectId: 'q' }, { a: story() })).toEqual({ what: 'release' })
})

test('a journal of another release, or one that begins in its middle, tells nothing', () => {
  expect(tell([agent, run, prompt])).toBeUndefined()
  expect(tell([])).toBeUndefined()
})
