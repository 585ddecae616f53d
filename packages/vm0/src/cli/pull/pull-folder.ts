import { chmod, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Vm0Error, type FolderEntry } from '@vm0/contract/client'
import type { Session } from '../../session.js'
import type { DownloadResult } from '../../transfer/receive-tree.js'
import { compareFolders } from '../../transfer/sync/compare.js'
import { fetchEntries } from '../../transfer/sync/fetch-folder.js'
import { overBreaks } from '../../transfer/sync/over-breaks.js'
import { bytesOf, Progress, type TransferProgress } from '../../transfer/sync/progress.js'
import { scanFolder } from '../../transfer/sync/scan-folder.js'
import { noteOf, type FolderRecord } from '../folder/folder-record.js'
import { someOf } from '../folder/some-of.js'
import { withoutGit } from '../folder/without-git.js'
import { planPull, type LocalState, type PullPlan, type RemoteEntry } from './plan.js'
import { kindOf, look, requireFolders, statesOf, withoutOutsideLinks, type Skipped } from './remote-state.js'

export interface PullOptions {
  folder: string
  force: boolean
  /** Also what .gitignore files exclude, and .git. */
  all: boolean
  /** Remove here what is gone from the session and wasn't changed here. */
  remove: boolean
  record: FolderRecord | undefined
  onProgress(progress: TransferProgress): void
}

export interface PullResult {
  plan: PullPlan
  removed: string[]
  skipped: Skipped[]
  /** How the pulled files are now, and what is known of those that the session has no more. */
  record: FolderRecord
}

/**
 * Brings what differs of a session's /workspace into a local folder. It is fetched beside its place first: when something
 * of it would overwrite a change that was made here, nothing is written at all.
 */
export async function pullFolder(session: Session, options: PullOptions): Promise<PullResult> {
  const { folder, force, all, record, onProgress } = options
  const known = record?.folder === folder ? record.files : {}
  await mkdir(folder, { recursive: true })
  const { http, call } = session.files.folder('/workspace')
  const compared = await overBreaks(undefined, async () => {
    // Its hooks and settings are commands that would run here, on this machine, at the next `git` call.
    const rules = all ? [] : withoutGit
    const scan = scanFolder(folder, { gitignore: !all, rules, specials: 'skip' })
    return compareFolders(
      http,
      await call('comparisons'),
      scan.then(({ listing, keep }) => ({ listing, keep, rules, ownRules: !all })),
    )
  })
  const told = [...compared.remote.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1))
  const { kept, skipped } = withoutOutsideLinks(told)
  const differing = new Map(kept.map((entry) => [entry.path, entry]))
  const alike = [...compared.alike]
  const remote: RemoteEntry[] = [...kept, ...alike].map(({ path, kind }) => ({ name: path, kind }))
  requireFolders([...kept, ...alike])

  const here = new Map(compared.local.map((entry) => [entry.path, entry]))
  const stateOf = statesOf(folder, differing, here, known)
  const states = new Map<string, LocalState | undefined>(
    alike.map(({ path, kind }) => [path, { kind, same: true, untouched: true }]),
  )
  for (const name of [...differing.keys(), ...Object.keys(known)])
    if (!states.has(name)) states.set(name, await stateOf(name))
  const plan = planPull(remote, (name) => states.get(name), Object.keys(known), { force })
  if (plan.conflicts.length > 0) throw conflict(plan.conflicts, folder)

  const scratch = await mkdtemp(join(folder, '.vm0-pull-'))
  try {
    const wanted = plan.write.map(({ entry }) => differing.get(entry.name) as FolderEntry)
    const files = wanted.filter(({ kind }) => kind !== 'folder')
    const savedBytes = compared.alike.bytes + bytesOf(kept) - bytesOf(wanted)
    const result: DownloadResult = { files: 0, bytes: 0, savedBytes, skipped }
    const progress = new Progress(files, savedBytes, onProgress)
    const fetched = { root: scratch, entries: files, here, progress, result }
    await fetchEntries(http, call, fetched, { outsideLinks: 'skip' })
    await putAll(wanted, scratch, folder)
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
  const removed = options.remove ? plan.gone.filter(({ untouched }) => untouched).map(({ name }) => name) : []
  for (const name of removed) await rm(join(folder, name))
  const files: FolderRecord['files'] = {}
  for (const { name } of plan.gone) if (!removed.includes(name) && known[name]) files[name] = known[name]
  for (const entry of alike) if (entry.kind !== 'folder') files[entry.path] = noteOf(entry)
  for (const { path, kind, content } of kept) {
    const info = kind === 'folder' ? undefined : await look(join(folder, path))
    if (info) files[path] = { sizeBytes: info.size, mtimeMs: info.mtimeMs, content }
  }
  return { plan, removed, skipped, record: { folder, files } }
}

/** Folders get their modes last: one may forbid that anything is put into it. */
async function putAll(wanted: readonly FolderEntry[], scratch: string, folder: string): Promise<void> {
  for (const { path, kind } of wanted) {
    const to = join(folder, path)
    if (kind === 'folder') {
      await rm(to, { force: true }) // a file or link that a folder replaces
      await mkdir(to)
      continue
    }
    const from = join(scratch, path)
    const came = await look(from)
    // What has gone from the session since it was compared is told the next time.
    if (came && kindOf(came) === kind) await rename(from, to)
  }
  for (const { path, kind, mode } of wanted.toReversed()) if (kind === 'folder') await chmod(join(folder, path), mode)
}

function conflict(names: readonly string[], folder: string): Vm0Error {
  return new Vm0Error(
    'FILE_CHANGED',
    `nothing was pulled into ${folder}: it would overwrite what is different here, ${someOf(names)}`,
    { details: { files: names } },
  )
}
