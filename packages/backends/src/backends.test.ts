import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { noTimings, type Vm0Event } from '@vm0/contract'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openBlobDirectory, openEventLog, openSecrets } from './index.js'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-backends-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

test('objects are written once and names that escape are refused', async () => {
  const blobs = await openBlobDirectory(directory)
  await blobs.put('layers/a', Buffer.from('one'))
  await blobs.put('layers/a', Buffer.from('two'))
  expect(Buffer.from(await blobs.get('layers/a')).toString()).toBe('one')
  await writeFile(join(directory, 'file'), 'moved')
  await blobs.putFile('layers/b', join(directory, 'file'))
  expect(await readFile((await blobs.localPath('layers/b')) as string, 'utf8')).toBe('moved')
  await expect(blobs.put('../x', Buffer.of(1))).rejects.toThrow('object name')
})

test('what is sealed opens after a restart, also under a rotated key, and not when it was changed', async () => {
  const file = join(directory, 'keys', 'master.json')
  const sealed = (await openSecrets(file)).seal('token')
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  const old = JSON.parse(await readFile(file, 'utf8')) as unknown[]
  await writeFile(
    file,
    JSON.stringify([{ id: '00112233445566ff', key: Buffer.alloc(32, 7).toString('base64') }, ...old]),
  )
  const rotated = await openSecrets(file)
  expect(rotated.open(sealed)).toBe('token')
  expect(sealed.includes('token')).toBe(false)
  sealed[sealed.length - 1]! ^= 1
  expect(() => rotated.open(sealed)).toThrow()
})

const scope = {
  projectId: 'p',
  sessionId: '00000000-0000-4000-8000-000000000001',
  runId: '00000000-0000-4000-8000-000000000002',
}
const finished = {
  type: 'run.finished' as const,
  outcome: 'died' as const,
  reason: 'host_lost',
  timings: noTimings,
  error: null,
}
const file = (): string => join(directory, 'p', scope.sessionId, `${scope.runId}.ndjson`)

async function collect(events: AsyncIterable<Vm0Event>): Promise<string[]> {
  const seen: string[] = []
  for await (const event of events) seen.push(`${event.cursor} ${event.type}`)
  return seen
}

test('a reader follows a run to its end, from a cursor, over a torn line and a new epoch', async () => {
  const log = openEventLog(directory)
  const first = await log.open(scope, 1)
  first.append({ type: 'input.sent', text: 'w' })
  await first.close()
  const reading = collect(log.read(scope, { after: '1.1', follow: true }))
  const again = await log.open(scope, 1)
  again.append({ type: 'input.sent', text: 'x' })
  await again.close()
  await appendFile(file(), '{"cursor":"1.3","ty')
  const second = await log.open(scope, 2)
  second.append(finished)
  await second.close()
  expect(await reading).toEqual(['1.2 input.sent', '2.1 run.finished'])
})

test('a log that a crash left without its end is ended by what the row says, once, and never while it is written', async () => {
  const log = openEventLog(directory)
  const last = { v: 1, cursor: '4.1', time: new Date(0).toISOString(), ...scope, ...finished } satisfies Vm0Event
  let ended = false
  const ending = async () => (ended ? last : undefined)
  const waiting = collect(log.read(scope, { follow: true, ending }))
  const writer = await log.open(scope, 3)
  writer.append({ type: 'input.sent', text: 'x' })
  await writer.flush()
  ended = true // the row's commit; the log's own last event comes after it
  const page = collect(log.read(scope, { follow: false, ending }))
  writer.append(finished)
  await writer.close()
  expect(await waiting).toEqual(['3.1 input.sent', '3.2 run.finished'])
  expect(await page).toEqual(['3.1 input.sent', '3.2 run.finished'])

  await log.removeSession(scope)
  ended = false
  const cutOff = await log.open(scope, 3)
  cutOff.append({ type: 'input.sent', text: 'x' })
  await cutOff.close()
  const following = collect(log.read(scope, { follow: true, ending }))
  ended = true
  log.wake(scope)
  for (const seen of [await following, await collect(log.read(scope, { follow: false, ending }))])
    expect(seen).toEqual(['3.1 input.sent', '4.1 run.finished'])
})

test('a hole in a log hides neither the events around it nor the next number', async () => {
  const log = openEventLog(directory)
  const writer = await log.open(scope, 1)
  writer.append({ type: 'stderr', text: 'x'.repeat(200_000) })
  await writer.close()
  await appendFile(file(), `${'\0'.repeat(70_000)}\n`)
  const next = await log.open(scope, 1)
  next.append(finished)
  await next.close()
  expect(await collect(log.read(scope, { follow: false }))).toEqual(['1.1 stderr', '1.2 run.finished'])
})
