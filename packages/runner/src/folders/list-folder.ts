import type { FolderEntry } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'

/** What `find` tells of an entry. */
export interface FoundEntry {
  path: string
  kind: FolderEntry['kind']
  mode: number
  sizeBytes: number
  /** Of a link where it leads. */
  target: string
  /** Type, mode, inode, size and the time of its last change: another one when anything of it may be another. */
  stamp: string
  changedAtMs: number
}

export interface FoundFolder {
  exists: boolean
  /** A folder before what is in it. */
  entries: FoundEntry[]
  /** Entries whose names are not UTF-8. */
  unnamed: number
}

/** Type, mode, inode, size, time of the last change, path; of a link then where it leads. */
const facts = String.raw`%y %m %i %s %C@ %P\0`
const script = 'test -d "$1" || exit 44; exec find "$1" -mindepth 1 -printf "$2" -type l -printf "$3"'
const kinds: Record<string, FolderEntry['kind']> = { f: 'file', d: 'folder', l: 'link' }

/** Every file, folder and link below a folder, by the sandbox's own `find`: names and links mean what they mean there. */
export async function listFolder(sandbox: Sandbox, folder: string, maxEntries: number): Promise<FoundFolder> {
  const found: FoundFolder = { exists: false, entries: [], unnamed: 0 }
  const args = ['sh', '-c', script, 'sh', `${folder}/`, facts, String.raw`%l\0`]
  let rest = Buffer.alloc(0)
  let link: string | undefined
  for await (const chunk of sandbox.exec({ args, cwd: '/' })) {
    if ('exitCode' in chunk) found.exists = chunk.exitCode !== 44
    else if (chunk.stream === 'stdout') {
      const bytes = rest.length > 0 ? Buffer.concat([rest, chunk.data]) : Buffer.from(chunk.data)
      const end = bytes.lastIndexOf(0) + 1
      rest = bytes.subarray(end)
      for (const value of bytes.toString('utf8', 0, end).split('\0').slice(0, -1)) {
        if (link !== undefined) {
          take(link, value, found)
          link = undefined
        } else if (value.startsWith('l')) link = value
        else take(value, '', found)
      }
      if (found.entries.length > maxEntries) break
    }
  }
  return found
}

function take(line: string, target: string, found: FoundFolder): void {
  const kind = kinds[line[0] as string]
  if (!kind) return
  if (line.includes('\uFFFD')) {
    found.unnamed += 1
    return
  }
  const afterMode = line.indexOf(' ', 2)
  const afterInode = line.indexOf(' ', afterMode + 1)
  const afterSize = line.indexOf(' ', afterInode + 1)
  const afterTime = line.indexOf(' ', afterSize + 1)
  if (afterTime < 0) return
  found.entries.push({
    path: line.slice(afterTime + 1),
    kind,
    mode: kind === 'link' ? 0 : Number.parseInt(line.slice(2, afterMode), 8) & 0o777,
    sizeBytes: kind === 'file' ? Number(line.slice(afterInode + 1, afterSize)) : 0,
    target,
    stamp: line.slice(0, afterTime),
    changedAtMs: Number(line.slice(afterSize + 1, afterTime)) * 1000,
  })
}
