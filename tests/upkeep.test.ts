import { randomBytes } from 'node:crypto'
import { mkdtemp, open, readdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openDatabase } from '@vm0/backends'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Session } from '../packages/vm0/src/index.js'
import { command, objects } from './support/command.js'
import { TestPlatform } from './support/platform.js'
import { workScript } from './support/scripts.js'

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([workScript], { VM0_GC_SECONDS: '0' }, { args: ['--warm', '0'] })
})
afterAll(() => platform?.stop())

const objectsOf = (on: TestPlatform): string => join(on.dataDir, 'objects')
const fileOf = (kind: string, digest: string): string =>
  join(objectsOf(platform), kind, digest.replace('sha256:', 'sha256-'))

/** A session that was saved and has no sandbox, with a random file; its checkpoints, the newest last. */
async function savedSession(on = platform): Promise<{ session: Session; content: string }> {
  const content = randomBytes(300_000).toString('base64')
  const session = await on.client.sessions.create()
  await session.files.write('/workspace/file', content)
  await session.close()
  return { session, content }
}

async function headOf(session: Session): Promise<string> {
  return (await session.get()).head as string
}

async function layersOf(checkpoint: string): Promise<string[]> {
  const manifest = JSON.parse(await readFile(fileOf('manifests', checkpoint), 'utf8')) as {
    layers: { digest: string }[]
  }
  return manifest.layers.map(({ digest }) => digest)
}

/** Everything that is in the store was written two hours ago. */
async function makeOld(on = platform): Promise<void> {
  for (const entry of await readdir(objectsOf(on), { recursive: true, withFileTypes: true })) {
    const twoHoursAgo = new Date(Date.now() - 2 * 3_600_000)
    if (entry.isFile()) await utimes(join(entry.parentPath, entry.name), twoHoursAgo, twoHoursAgo)
  }
}

const namesIn = (kind: string, on = platform): Promise<string[]> => readdir(join(objectsOf(on), kind)).catch(() => [])
const nameOf = (digest: string): string => digest.replace('sha256:', 'sha256-')

test('fsck finds a flipped bit, a truncated layer and a lost manifest, and names what they hit and nothing else', async () => {
  const [flipped, short, lost, whole] = [
    await savedSession(),
    await savedSession(),
    await savedSession(),
    await savedSession(),
  ]
  const before = await headOf(flipped.session)
  await flipped.session.exec('echo more > more')
  await flipped.session.close()
  const heads = await Promise.all([flipped, short, lost].map(({ session }) => headOf(session)))
  const good = await command(platform, ['fsck', '--deep'])
  expect(good).toMatchObject({ status: 0, stdout: expect.stringContaining('all is whole') })

  const flippedLayer = (await layersOf(heads[0] as string)).at(-1) as string
  const layer = await open(fileOf('layers', flippedLayer), 'r+')
  const { buffer } = await layer.read(Buffer.alloc(1), 0, 1, 4096)
  await layer.write(Buffer.from([(buffer[0] as number) ^ 4]), 0, 1, 4096)
  await layer.close()
  const shortLayer = (await layersOf(heads[1] as string))[0] as string
  await truncate(fileOf('layers', shortLayer), 8192)
  const manifest = await readFile(fileOf('manifests', heads[2] as string))
  await rm(fileOf('manifests', heads[2] as string))

  const shallow = await command(platform, ['fsck', '--json'])
  expect(shallow.status).toBe(3)
  const sessionHit = ({ session }: { session: Session }) => ({ project: 'default', id: session.id, head: true })
  const found = objects(shallow).filter(({ type }) => type === 'problem')
  expect(found).toHaveLength(2)
  expect(found.find(({ message }) => message.includes(shortLayer))).toMatchObject({
    checkpoints: [heads[1]],
    sessions: [sessionHit(short)],
  })
  expect(found.find(({ message }) => message.includes(heads[2]))).toMatchObject({
    message: expect.stringContaining('missing'),
    checkpoints: [heads[2]],
    sessions: [sessionHit(lost)],
  })
  const deep = await command(platform, ['fsck', '--deep', '--json'])
  expect(deep.status).toBe(3)
  const first = objects(deep).find(({ message }) => message?.includes(flippedLayer))
  expect(first).toMatchObject({ type: 'problem', checkpoints: [heads[0]], sessions: [sessionHit(flipped)] })
  expect(first?.checkpoints).not.toContain(before)
  expect(objects(deep).at(-1)).toMatchObject({ type: 'checked', problems: 3 })
  const words = await command(platform, ['fsck'])
  expect(words).toMatchObject({ status: 3, stdout: expect.stringContaining(`session ${short.session.id}`) })

  // A store with a manifest that can't be read isn't collected: what it needed can't be known.
  await makeOld()
  const refused = await command(platform, ['gc'])
  expect(refused).toMatchObject({ status: 6, stderr: expect.stringContaining('CHECKPOINT_CORRUPT') })
  await expect(flipped.session.exec('true')).rejects.toMatchObject({ code: 'CHECKPOINT_CORRUPT' })
  expect(await whole.session.files.readText('/workspace/file')).toBe(whole.content)
  await writeFile(fileOf('manifests', heads[2] as string), manifest)
  expect(await lost.session.files.readText('/workspace/file')).toBe(lost.content)
  for (const { session } of [flipped, short, lost, whole]) await session.delete()
  expect((await command(platform, ['fsck', '--deep'])).status).toBe(0)
})

test('gc takes what a deleted session had, and nothing of the others', async () => {
  const [gone, kept] = [await savedSession(), await savedSession()]
  const [goneLayers, keptLayers] = [
    await layersOf(await headOf(gone.session)),
    await layersOf(await headOf(kept.session)),
  ]
  await gone.session.delete()
  await platform.client.store.gc()
  expect(await namesIn('layers')).toContain(nameOf(goneLayers[0] as string))
  await makeOld()
  const dry = await command(platform, ['gc', '--dry-run', '--json'])
  expect(await namesIn('layers')).toContain(nameOf(goneLayers[0] as string))
  const done = await command(platform, ['gc', '--json'])
  expect(objects(done)[0]).toMatchObject({ removed: objects(dry)[0]?.removed, dryRun: false })
  expect(objects(done)[0]?.removed).toBeGreaterThanOrEqual(2)
  const layers = await namesIn('layers')
  expect(layers).not.toContain(nameOf(goneLayers[0] as string))
  expect(layers).toEqual(expect.arrayContaining(keptLayers.map(nameOf)))
  expect((await command(platform, ['gc'])).stdout).toContain('0 objects were removed')
  expect(await kept.session.files.readText('/workspace/file')).toBe(kept.content)
  await kept.session.delete()
})

test('an upload stays until the session that was made with it has unpacked it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vm0-upkeep-'))
  await writeFile(join(folder, 'file'), 'content')
  const session = await platform.client.sessions.create({ workspace: folder })
  await rm(folder, { recursive: true })
  await makeOld()
  await platform.client.store.gc()
  expect(await session.files.readText('/workspace/file')).toBe('content')
  await session.close()
  expect(await namesIn('uploads/default')).toHaveLength(1)
  await makeOld()
  // The row was named within the grace time, which is told by the database's clock.
  await platform.client.store.gc()
  expect(await namesIn('uploads/default')).toHaveLength(1)
  expect(await session.files.readText('/workspace/file')).toBe('content')
  await session.delete()
})

test('collections beside runs at work lose nothing', async () => {
  const { session } = await platform.client.run({ prompt: 'append a line' })
  await makeOld()
  const ending = new AbortController()
  const collecting = (async () => {
    let count = 0
    for (; !ending.signal.aborted; count++) await platform.client.store.gc({ graceMs: 60_000 })
    return count
  })()
  for (let n = 0; n < 3; n++) await session.run('append a line')
  await session.run('take a while')
  ending.abort()
  expect(await collecting).toBeGreaterThan(10)
  await session.close()
  expect(await session.files.readText('/workspace/lines.txt')).toBe('line\n'.repeat(4))
  expect((await platform.client.store.fsck({ deep: true })).problems).toEqual([])
})

test('only a key of the installation may check and collect, and a grace time that could lose a save is refused', async () => {
  const { key } = await platform.project('team')
  for (const what of ['fsck', 'gc']) {
    const response = await platform.fetch(`/v1/store/${what}`, { method: 'POST', key, body: '{}' })
    expect(response.status).toBe(403)
  }
  const hasty = await command(platform, ['gc', '--grace', '1s'])
  expect(hasty).toMatchObject({ status: 2, stderr: expect.stringContaining('INVALID_REQUEST') })
})

test('vm0 up collects by itself', async () => {
  const own = await TestPlatform.start([workScript], { VM0_GC_SECONDS: '0.5' }, { args: ['--warm', '0'] })
  try {
    const { session } = await savedSession(own)
    const { session: other, content } = await savedSession(own)
    await session.delete()
    expect(await namesIn('layers', own)).toHaveLength(2)
    await makeOld(own)
    await expect.poll(() => namesIn('layers', own), { timeout: 30_000 }).toHaveLength(1)
    expect(await other.files.readText('/workspace/file')).toBe(content)
  } finally {
    await own.stop()
  }
})

test('checkpoints that the retention policy does not keep go; heads, names, forks and the young stay', async () => {
  const env = { VM0_GC_SECONDS: '0', VM0_KEEP_LAST: '2', VM0_KEEP_MONTHLY: '1' }
  const own = await TestPlatform.start([workScript], env, { args: ['--warm', '0'] })
  try {
    const session = await own.client.sessions.create()
    const made: string[] = []
    for (const name of [undefined, 'kept', undefined, undefined, undefined, undefined]) {
      await session.files.write(`/workspace/file${made.length}`, randomBytes(20_000).toString('base64'))
      made.push((await session.checkpoints.create(name === undefined ? {} : { name })).id)
    }
    const fork = await own.client.checkpoints.get(made[2] as string).fork()
    await own.down()
    // As if they had been made half a year ago, but the last one.
    const database = await openDatabase({ directory: join(own.dataDir, 'db') })
    await database.db
      .updateTable('checkpoints')
      .set({ created_at: sql<Date>`created_at - interval '180 days'` })
      .where('id', '!=', made[5] as string)
      .execute()
    await database.close()
    own.env.VM0_GC_SECONDS = '0.5'
    await own.up()
    const left = async (): Promise<string[]> =>
      (await own.client.sessions.get(session.id).checkpoints.list()).items.map(({ id }) => id)
    const wanted = [made[5], made[4], made[2], made[1]]
    await expect.poll(left, { timeout: 30_000 }).toEqual(wanted)
    await makeOld(own)
    await expect.poll(() => namesIn('manifests', own), { timeout: 30_000 }).toHaveLength(4)
    for (const at of [session.id, fork.id])
      expect(await own.client.sessions.get(at).files.readText('/workspace/file2')).toHaveLength(26_668)
    expect((await own.client.store.fsck({ deep: true })).problems).toEqual([])
  } finally {
    await own.stop()
  }
})
