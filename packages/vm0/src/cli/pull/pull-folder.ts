import { createReadStream, type Stats } from 'node:fs'
import { lstat, mkdir, mkdtemp, readlink, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Vm0Error } from '@vm0/contract/client'
import type { Session } from '../../session.js'
import { walkFolder } from '../../transfer/local-tree.js'
import { printableLine } from '../printable.js'
import type { FolderRecord } from './folder-record.js'
import { planPull, type LocalState, type Noted, type PullPlan, type RemoteEntry } from './plan.js'

export interface PullOptions {
  folder: string
  force: boolean
  /** Also what .gitignore files exclude, and .git. */
  all: boolean
  /** Remove here what is gone from the session and wasn't changed here. */
  remove: boolean
  record: FolderRecord | undefined
}

export interface PullResult {
  plan: PullPlan
  removed: string[]
  skipped: { path: string; reason: string }[]
  /** How the pulled files are now, and what is known of those that the session has no more. */
  record: FolderRecord
}

const shown = 10

/**
 * Brings a session's /workspace into a local folder. It is fetched beside its place first: when something of it would
 * overwrite a change that was made here, nothing is written at all.
 */
export async function pullFolder(session: Session, options: PullOptions): Promise<PullResult> {
  const { folder, force, record } = options
  const known = record?.folder === folder ? record.files : {}
  await mkdir(folder, { recursive: true })
  const scratch = await mkdtemp(join(folder, '.vm0-pull-'))
  try {
    const { skipped } = await session.files.download('/workspace', scratch, { outsideLinks: 'skip' })
    const remote = await entriesOf(scratch, options.all)
    const stateOf = statesOf(folder, scratch, known)
    const states = new Map<string, LocalState | undefined>()
    for (const name of [...remote.map((entry) => entry.name), ...Object.keys(known)])
      if (!states.has(name)) states.set(name, await stateOf(name))
    const plan = planPull(remote, (name) => states.get(name), Object.keys(known), { force })
    if (plan.conflicts.length > 0) throw conflict(plan.conflicts, folder)
    for (const { entry } of plan.write) await put(entry, scratch, folder)
    const removed = options.remove ? plan.gone.filter(({ untouched }) => untouched).map(({ name }) => name) : []
    for (const name of removed) await rm(join(folder, name))
    const kept = plan.gone.filter(({ name }) => !removed.includes(name)).map(({ name }) => [name, known[name] as Noted])
    const files = { ...Object.fromEntries(kept), ...(await notedFiles(remote, folder)) } as FolderRecord['files']
    return { plan, removed, skipped, record: { folder, files } }
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

/**
 * What .gitignore files exclude was not sent and doesn't come back. Neither does .git: its hooks and settings are commands
 * that would run here, on this machine, at the next `git` call.
 */
async function entriesOf(scratch: string, all: boolean): Promise<RemoteEntry[]> {
  const entries: RemoteEntry[] = []
  for await (const { name, info } of walkFolder(scratch, { gitignore: !all })) {
    if (!all && name.split('/').includes('.git')) continue
    entries.push({ name, kind: kindOf(info) as RemoteEntry['kind'] })
  }
  return entries
}

function kindOf(info: Stats): LocalState['kind'] {
  return info.isDirectory() ? 'folder' : info.isFile() ? 'file' : info.isSymbolicLink() ? 'link' : 'other'
}

type StateOf = (name: string) => Promise<LocalState | undefined>

function statesOf(folder: string, scratch: string, known: FolderRecord['files']): StateOf {
  const realFolders = new Map<string, Promise<boolean>>()
  /** Through a link in the way lies another place, which is none of ours. */
  const isReal = (name: string): Promise<boolean> => {
    if (name === '.') return Promise.resolve(true)
    let answer = realFolders.get(name)
    if (!answer) {
      answer = isReal(dirname(name)).then(
        async (parent) => parent && ((await look(join(folder, name)))?.isDirectory() ?? false),
      )
      realFolders.set(name, answer)
    }
    return answer
  }
  return async (name) => {
    const info = (await isReal(dirname(name))) ? await look(join(folder, name)) : undefined
    if (!info) return undefined
    const there = await look(join(scratch, name))
    const noted = known[name]
    return {
      kind: kindOf(info),
      same: there !== undefined && (await isSame(join(folder, name), info, join(scratch, name), there)),
      untouched: noted !== undefined && noted.sizeBytes === info.size && noted.mtimeMs === info.mtimeMs,
    }
  }
}

const look = (path: string): Promise<Stats | undefined> => lstat(path).catch(() => undefined)

async function isSame(a: string, aInfo: Stats, b: string, bInfo: Stats): Promise<boolean> {
  const kind = kindOf(aInfo)
  if (kind !== kindOf(bInfo)) return false
  if (kind === 'link') return (await readlink(a)) === (await readlink(b))
  if (kind === 'folder') return true
  if (aInfo.size !== bInfo.size || (aInfo.mode & 0o777) !== (bInfo.mode & 0o777)) return false
  const other = createReadStream(b)[Symbol.asyncIterator]()
  try {
    for await (const chunk of createReadStream(a)) {
      const { value } = (await other.next()) as { value?: Buffer }
      if (!value?.equals(chunk as Buffer)) return false // both are read in pieces of the same size
    }
    return true
  } finally {
    await other.return?.()
  }
}

async function put({ name, kind }: RemoteEntry, scratch: string, folder: string): Promise<void> {
  const from = join(scratch, name)
  const to = join(folder, name)
  if (kind !== 'folder') return rename(from, to)
  await rm(to, { force: true }) // a file or link that a folder replaces
  await mkdir(to, { mode: (await lstat(from)).mode & 0o777 })
}

async function notedFiles(remote: readonly RemoteEntry[], folder: string): Promise<FolderRecord['files']> {
  const files: FolderRecord['files'] = {}
  for (const { name, kind } of remote) {
    const info = kind === 'folder' ? undefined : await look(join(folder, name))
    if (info) files[name] = { sizeBytes: info.size, mtimeMs: info.mtimeMs }
  }
  return files
}

function conflict(names: readonly string[], folder: string): Vm0Error {
  const some = names.slice(0, shown).map((name) => printableLine(name, 100))
  const rest = names.length > shown ? ` and ${names.length - shown} more` : ''
  return new Vm0Error(
    'FILE_CHANGED',
    `nothing was pulled into ${folder}: it would overwrite what is different here, ${some.join(', ')}${rest}`,
    { details: { files: names } },
  )
}
