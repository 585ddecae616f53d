import { join } from 'node:path'
import { Vm0Error } from '@vm0/contract/client'
import type { Session } from '../../session.js'
import { compareFolders } from '../../transfer/sync/compare.js'
import { overBreaks } from '../../transfer/sync/over-breaks.js'
import { bytesOf, Progress, type TransferProgress } from '../../transfer/sync/progress.js'
import type { ScannedEntry } from '../../transfer/sync/listing.js'
import { scanFolder } from '../../transfer/sync/scan-folder.js'
import { maxKeptBytes, removeEntries, sendEntries } from '../../transfer/sync/send-folder.js'
import { noteOf, type FolderRecord } from '../folder/folder-record.js'
import { someOf } from '../folder/some-of.js'
import { withoutGit } from '../folder/without-git.js'
import { look } from '../pull/remote-state.js'
import { planPush, type PushPlan } from './plan.js'

export interface PushOptions {
  folder: string
  /** Overwrite what was changed in the session. */
  force: boolean
  /** Also what ignore files exclude, and .git. */
  all: boolean
  /** Remove from the session what is gone from here. */
  remove: boolean
  record: FolderRecord | undefined
  onProgress(progress: TransferProgress): void
}

export interface PushResult {
  plan: PushPlan<ScannedEntry>
  removed: string[]
  bytes: number
  savedBytes: number
  record: FolderRecord
}

/** Brings what differs of a local folder into a session's /workspace, unless it would overwrite what was changed there. */
export async function pushFolder(session: Session, options: PushOptions): Promise<PushResult> {
  const { folder, force, all, record, onProgress } = options
  const known = record?.folder === folder ? record.files : {}
  const { http, call } = session.files.folder('/workspace')
  const compared = await overBreaks(undefined, async () => {
    // What the agent committed there is not to be mixed with what was committed here.
    const given = all ? [] : withoutGit
    const scan = scanFolder(folder, { gitignore: !all, rules: given, maxKeptBytes })
    return compareFolders(
      http,
      await call('comparisons'),
      scan.then(({ rules, ...scanned }) => ({ ...scanned, rules: [...given, ...rules], ownRules: false })),
    )
  })
  const here = [...compared.alike, ...compared.local]
  const gone = await goneFrom(folder, known, here)
  const plan = planPush(compared.local, compared.remote, (entry) => notedContent(entry, known), gone, { force })
  if (plan.conflicts.length > 0) throw conflict(plan.conflicts)
  const sent = plan.send.map(({ entry }) => entry)
  const savedBytes = compared.alike.bytes + bytesOf(compared.local) - bytesOf(sent)
  const removed = options.remove ? plan.gone : []
  await removeEntries(http, call, removed, undefined)
  const progress = new Progress(sent, savedBytes, onProgress)
  let sparedBytes = 0
  if (sent.length > 0 || !compared.summary.exists)
    sparedBytes = await sendEntries(http, call, { entries: sent, there: compared.remote, progress }, undefined)
  const files = { ...known }
  for (const { path } of removed) delete files[path]
  const theirs = new Set(plan.theirs)
  for (const entry of here) if (entry.kind !== 'folder' && !theirs.has(entry.path)) files[entry.path] = noteOf(entry)
  return {
    plan,
    removed: removed.map(({ path }) => path),
    bytes: bytesOf(sent) - sparedBytes,
    savedBytes: savedBytes + sparedBytes,
    record: { folder, files },
  }
}

/** Notes of earlier versions tell no content: what was not touched since has the one from then. */
function notedContent({ path, local: { info }, content }: ScannedEntry, known: FolderRecord['files']) {
  const noted = known[path]
  const isUntouched = noted?.sizeBytes === info.size && noted.mtimeMs === info.mtimeMs
  return noted?.content ?? (isUntouched ? content : undefined)
}

/** What was sent or pulled before and isn't here any more, with its content from then. */
async function goneFrom(folder: string, known: FolderRecord['files'], here: readonly ScannedEntry[]) {
  const names = new Set(here.map(({ path }) => path))
  const gone = new Map<string, string | undefined>()
  for (const [name, { content }] of Object.entries(known))
    if (!names.has(name) && !(await look(join(folder, name)))) gone.set(name, content)
  return gone
}

function conflict(names: readonly string[]): Vm0Error {
  return new Vm0Error(
    'FILE_CHANGED',
    `nothing was pushed: it would overwrite what is different in the session, ${someOf(names)}`,
    { details: { files: names }, hint: 'Look with `vm0 pull -o DIR`, or pass --force to overwrite it there.' },
  )
}
