import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { CheckpointManifest } from '../store.js'
import { recoverSessions, type StoredCheckpoint } from './rebuild.js'

interface Given {
  parent?: string
  session?: string
  epoch?: number
  minute?: number
  damage?: string
  cause?: CheckpointManifest['cause']
  layer?: string
  name?: string
}

function stored(
  id: string,
  { parent, session = 's', epoch = 1, minute = 0, damage, cause = 'run', layer = id, name }: Given = {},
): StoredCheckpoint {
  const createdAt = new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString()
  const manifest = {
    v: 1,
    projectId: 'p',
    sessionId: session,
    parent: parent ?? null,
    epoch,
    createdAt,
    cause,
    layers: [{ digest: layer, sizeBytes: 1 }],
    ...(name === undefined ? {} : { name }),
  }
  return { id, manifest: manifest as CheckpointManifest, damage }
}
const heads = (checkpoints: StoredCheckpoint[]): Record<string, string | undefined> =>
  Object.fromEntries(recoverSessions(checkpoints).map(({ sessionId, head }) => [sessionId, head?.id]))

test('a session stands at its newest checkpoint that none of its own follows on', () => {
  expect(heads([stored('b', { parent: 'a', minute: 1 }), stored('a')])).toEqual({ s: 'b' })
  // Two that follow on one: the later one, after a rollback.
  const branches = [stored('a'), stored('b', { parent: 'a', minute: 1 }), stored('c', { parent: 'a', minute: 2 })]
  expect(heads(branches)).toEqual({ s: 'c' })
})

test('a later owner counts more than a later clock', () => {
  expect(heads([stored('a', { epoch: 2, minute: 1 }), stored('b', { epoch: 1, minute: 9 })])).toEqual({ s: 'a' })
})

test('a fork takes nothing from the session that it came from, and knows its origin', () => {
  const all = [
    stored('a'),
    stored('b', { parent: 'a', minute: 1 }),
    stored('f', { parent: 'b', session: 't', minute: 2 }),
  ]
  expect(heads(all)).toEqual({ s: 'b', t: 'f' })
  expect(recoverSessions(all).map(({ origin }) => origin)).toEqual([null, 'b'])
})

test('a parent that is not in the store any more is no origin', () => {
  const [session] = recoverSessions([stored('c', { parent: 'gone' }), stored('d', { parent: 'c', minute: 1 })])
  expect([session?.head?.id, session?.origin]).toEqual(['d', null])
})

test('a session whose newest checkpoint is damaged stands at the one before, and says so', () => {
  const [session] = recoverSessions([stored('a'), stored('b', { parent: 'a', minute: 1, damage: 'a bit' })])
  expect([session?.head?.id, session?.newest.id]).toEqual(['a', 'b'])
  const [lost] = recoverSessions([stored('a', { damage: 'all' })])
  expect([lost?.head, lost?.newest.id]).toEqual([undefined, 'a'])
})

test('what was saved for nothing, and never made the head, is left out; a name or a run makes it count', () => {
  const same = { parent: 'a', minute: 1, layer: 'a' }
  expect(heads([stored('a'), stored('b', { ...same, cause: 'close' })])).toEqual({ s: 'a' })
  expect(heads([stored('a'), stored('b', { ...same, cause: 'manual' })])).toEqual({ s: 'a' })
  expect(heads([stored('a'), stored('b', { ...same, cause: 'manual', name: 'mine' })])).toEqual({ s: 'b' })
  expect(heads([stored('a'), stored('b', { ...same, cause: 'run' })])).toEqual({ s: 'b' })
})

test('whatever the order in which a chain is found, its end is the head', () => {
  const chain = fc.array(fc.nat(3), { minLength: 1, maxLength: 20 }).chain((steps) => {
    let minute = 0
    const made = steps.map((step, n) =>
      stored(`c${n}`, { ...(n > 0 ? { parent: `c${n - 1}` } : {}), minute: (minute += step) }),
    )
    return fc.tuple(fc.constant(made.length), fc.shuffledSubarray(made, { minLength: made.length }))
  })
  fc.assert(
    fc.property(chain, ([length, shuffled]) => {
      expect(heads(shuffled)).toEqual({ s: `c${length - 1}` })
    }),
  )
})
