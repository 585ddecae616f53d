import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openBlobDirectory, openDatabase, openEventLog, openSecrets } from './index.js'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-backends-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

test('the embedded database keeps rows and applies migrations once', async () => {
  const first = await openDatabase({ directory: join(directory, 'db') })
  await first.db.insertInto('projects').values({ id: 'p', name: 'P' }).execute()
  await expect(
    first.db.transaction().execute(async (trx) => {
      await trx.insertInto('projects').values({ id: 'q', name: 'Q' }).execute()
      throw new Error('undo')
    }),
  ).rejects.toThrow('undo')
  await first.close()
  const second = await openDatabase({ directory: join(directory, 'db') })
  const rows = await second.db.selectFrom('projects').select('id').execute()
  await second.close()
  expect(rows).toEqual([{ id: 'p' }])
})

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

test('a reader follows a run to its end, from a cursor, over a torn line and a new epoch', async () => {
  const log = openEventLog(directory)
  const scope = {
    projectId: 'p',
    sessionId: '00000000-0000-4000-8000-000000000001',
    runId: '00000000-0000-4000-8000-000000000002',
  }
  const queued = await log.open(scope, 0)
  queued.append({ type: 'run.queued' })
  await queued.close()
  const seen: string[] = []
  const reading = (async () => {
    for await (const event of log.read(scope, { after: '0.1', follow: true }))
      seen.push(`${event.cursor} ${event.type}`)
  })()
  const first = await log.open(scope, 1)
  first.append({ type: 'input.sent', text: 'x' })
  await first.close()
  await appendFile(join(directory, 'p', scope.sessionId, `${scope.runId}.ndjson`), '{"cursor":"1.2","ty')
  const second = await log.open(scope, 2)
  second.append({
    type: 'run.finished',
    outcome: 'died',
    reason: 'host_lost',
    timings: {
      queuedMs: null,
      sandboxReadyMs: null,
      promptSentMs: null,
      firstModelRequestMs: null,
      firstTokenMs: null,
      agentFinishedMs: null,
      totalMs: null,
    },
    error: null,
  })
  await second.close()
  await reading
  expect(seen).toEqual(['1.1 input.sent', '2.1 run.finished'])
})
