import { maxFolderEntries, Vm0Error } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import { findFormat, type FoundEntry } from './found-entry.js'
import type { KnownFolder } from './known-folder.js'

export interface FoundFolder {
  exists: boolean
  /** A folder before what is in it. */
  entries: FoundEntry[]
  /** Entries whose names are not UTF-8. */
  unnamed: number
}

/** A name below a folder can be as long as its way through all of the folders; nothing else of a sandbox makes it longer. */
const maxLineBytes = 1024 ** 2

/**
 * After the lines comes one that tells how `find` ended. All is passed on in large pieces: every small one would wake this
 * process.
 */
const script = `test -d "$1" || exit 44
{ find "$1" -mindepth 1 -printf "$2" -type l -printf "$3"; printf '= %s\\0' "$?"; } | dd ibs=32k obs=64k 2>/dev/null`
/** What vanishes while it is listed, or may not be read, makes 1. */
const wholeLists = ['= 0\0', '= 1\0']

/** Every file, folder and link below a folder, each told as it comes, by the sandbox's own `find`: names and links mean what they mean there. */
export async function listFolder(
  sandbox: Sandbox,
  folder: string,
  known: KnownFolder,
  onFound: (entry: FoundEntry) => void,
): Promise<FoundFolder> {
  const found: FoundFolder = { exists: false, entries: [], unnamed: 0 }
  const look = known.look(found)
  const args = ['sh', '-c', script, 'sh', `${folder}/`, findFormat.all, findFormat.links]
  let rest: Buffer = Buffer.alloc(0)
  let told = 0
  let last = ''
  let exitCode = -1
  for await (const chunk of sandbox.exec({ args, cwd: '/' })) {
    if ('exitCode' in chunk) exitCode = chunk.exitCode
    else if (chunk.stream === 'stdout') {
      const bytes = rest.length > 0 ? Buffer.concat([rest, chunk.data]) : Buffer.from(chunk.data)
      const end = look.take(bytes)
      if (end > 0) last = bytes.toString('latin1', bytes.lastIndexOf(0, end - 2) + 1, end)
      rest = bytes.subarray(end)
      if (look.lines() > maxFolderEntries) throw tooMany(folder)
      if (rest.length > maxLineBytes) throw new Vm0Error('EXEC_FAILED', `listing ${folder} gave no names`)
      for (; told < found.entries.length; told++) onFound(found.entries[told] as FoundEntry)
    }
  }
  if (exitCode === 44) return found
  if (!wholeLists.includes(last))
    throw new Vm0Error('EXEC_FAILED', `listing ${folder} broke off: it ended with status ${exitCode} and ${last}`)
  look.end()
  return { ...found, exists: true }
}

const tooMany = (folder: string): Vm0Error =>
  new Vm0Error(
    'FILE_INVALID',
    `${folder} has more than ${maxFolderEntries} entries; expected a folder with fewer to compare`,
    {
      hint: 'Name a folder further down.',
    },
  )
