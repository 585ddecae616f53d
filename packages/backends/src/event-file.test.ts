import { appendFile, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compareCursors, type Vm0Event } from '@vm0/contract'
import { offsetBefore } from './event-file.js'
import { openEventLog } from './event-log.js'

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-events-'))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

async function read(runId: string, after: string): Promise<Vm0Event[]> {
  const events: Vm0Event[] = []
  const log = openEventLog(directory)
  for await (const event of log.read({ projectId: 'p', sessionId: 's', runId }, { after, follow: false }))
    events.push(event)
  return events
}

test('whatever the lengths of its lines and the holes in it, a log gives all that comes after a cursor and nothing else', async () => {
  let run = 0
  const line = fc.record({
    chars: fc.oneof(fc.nat(200), fc.integer({ min: 30_000, max: 300_000 })),
    hole: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(line, { minLength: 1, maxLength: 25 }), async (lines) => {
      const runId = `r${(run += 1)}`
      const cursors: string[] = []
      let epoch = 1
      for (const { chars, hole } of lines) {
        const writer = await openEventLog(directory).open({ projectId: 'p', sessionId: 's', runId }, epoch)
        cursors.push(writer.append({ type: 'stderr', text: 'x'.repeat(chars) }).cursor)
        await writer.close()
        if (hole) await appendFile(join(directory, 'p', 's', `${runId}.ndjson`), `${'\0'.repeat(chars)}\n`)
        if (chars % 3 === 0) epoch += 1
      }
      for (const after of ['0.0', ...cursors, '99.1'])
        expect((await read(runId, after)).map(({ cursor }) => cursor)).toEqual(
          cursors.filter((cursor) => compareCursors(cursor, after) > 0),
        )
    }),
    { numRuns: 15 },
  )
})

test('a page near the end of a long log reads only a little of it', async () => {
  const scope = { projectId: 'p', sessionId: 's', runId: 'long' }
  const writer = await openEventLog(directory).open(scope, 1)
  for (let index = 0; index < 20_000; index += 1) writer.append({ type: 'stderr', text: `line ${index}` })
  await writer.close()
  const path = join(directory, 'p', 's', 'long.ndjson')
  const { size } = await stat(path)
  expect(await offsetBefore(path, '0.1')).toBe(0)
  expect(await offsetBefore(path, '1.19990')).toBeGreaterThan(size * 0.9)
  expect((await read('long', '1.19990')).map(({ cursor }) => cursor)).toEqual(
    Array.from({ length: 10 }, (_, index) => `1.${19_991 + index}`),
  )
})
