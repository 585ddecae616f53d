import { access, readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import {
  claimInstallation,
  holdDatabase,
  openDatabase,
  openSecrets,
  type Database,
  type SecretsPort,
} from '@vm0/backends'
import { openCheckpointStore, recoverSessions, type CheckpointStore, type StoredCheckpoint } from '@vm0/checkpoints'
import { Vm0Error, type RebuildReport } from '@vm0/contract'
import { Keys, Projects } from '@vm0/server'
import { lockDataDir } from '../data-lock.js'
import { installationId } from '../installation-id.js'
import { openObjectStore, type ObjectStore } from '../object-store.js'
import { ownKey } from '../own-key.js'
import { cacheDir, defaultDataDir } from '../paths.js'
import { insertRows } from './rebuild-rows.js'

export interface RebuildOptions {
  dataDir?: string
  /** Read every byte of what sessions are made of, so that none is put on a damaged checkpoint. */
  deep?: boolean
  onProgress?: (message: string) => void
}

/**
 * Makes the database's rows anew from the store alone, on a data folder that no `vm0 up` uses. Rows that are there stay.
 * What the store doesn't tell is gone: runs with their prompts and results, labels and resources of sessions, keys.
 */
export async function rebuild({
  dataDir = defaultDataDir,
  deep = false,
  onProgress = () => undefined,
}: RebuildOptions = {}): Promise<RebuildReport> {
  await access(dataDir).catch((cause: unknown) => {
    throw new Vm0Error('INVALID_REQUEST', `there is no data folder ${dataDir}`, {
      cause,
      hint: 'Name the folder of the `vm0 up` whose database is to be rebuilt: --data DIR.',
    })
  })
  const undo: (() => Promise<unknown>)[] = []
  try {
    const lock = await lockDataDir(dataDir, () =>
      onProgress('an earlier `vm0 up` is still saving its sessions: waiting'),
    )
    undo.push(lock.release)
    const id = await installationId(dataDir)
    const url = process.env.DATABASE_URL
    const database = await openDatabase(url ? { url } : { directory: join(dataDir, 'db'), cacheDir })
    undo.push(() => database.close())
    await claimInstallation(database, { id, place: `${hostname()}:${dataDir}` })
    if (url) undo.push(await holdDatabase(url))
    const secrets = await openSecrets(join(dataDir, 'keys', 'master.json'))
    const objects = await openObjectStore(dataDir, secrets)
    undo.push(() => objects.close())
    return await rebuildFrom(objects, database, secrets, { dataDir, deep, onProgress })
  } finally {
    for (const step of undo.toReversed()) await step()
  }
}

async function rebuildFrom(
  { blobs, packed }: ObjectStore,
  database: Database,
  secrets: SecretsPort,
  { dataDir, deep, onProgress }: Required<RebuildOptions>,
): Promise<RebuildReport> {
  const store = await openCheckpointStore({ blobs, scratch: join(dataDir, 'scratch'), ...(packed ? { packed } : {}) })
  onProgress('reading the checkpoints of the store')
  const { problems, checkpoints } = await survey(store, deep, onProgress)
  const templates = (await allOf(store.templates.documents())).toSorted((a, b) => b.version - a.version)
  const uploads = await allOf(blobs.list('uploads/'))
  const rows = await insertRows(database, secrets, recoverSessions(checkpoints), templates, uploads)
  const before = await readFile(join(dataDir, 'keys', 'local'), 'utf8').catch(() => '')
  const key = await ownKey({ keys: new Keys(database), projects: new Projects(database) }, dataDir)
  return { ...rows, problems, key: key === before.trim() ? null : key }
}

/** Every checkpoint of the store whose manifest can be read, and what is damaged of them. */
async function survey(
  store: CheckpointStore,
  deep: boolean,
  onProgress: (message: string) => void,
): Promise<Pick<RebuildReport, 'problems'> & { checkpoints: StoredCheckpoint[] }> {
  const everything = { checkpoints: () => store.list(), async *templates() {}, async *objects() {} }
  const { problems } = await store.fsck(everything, {
    deep,
    onProgress: (count) => {
      if (count % 1000 === 0) onProgress(`${count} checkpoints read`)
    },
  })
  const damage = new Map(problems.flatMap(({ message, checkpoints }) => checkpoints.map((id) => [id, message])))
  const checkpoints: StoredCheckpoint[] = []
  for await (const id of store.list()) {
    const manifest = await store.load(id).catch(() => undefined)
    if (manifest) checkpoints.push({ id, manifest, damage: damage.get(id) })
  }
  return { problems, checkpoints }
}

async function allOf<T>(list: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const each of list) found.push(each)
  return found
}
