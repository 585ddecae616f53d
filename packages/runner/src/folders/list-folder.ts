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
  /** Inode and the time of its last change: another one when the content may be another. */
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

const fields = String.raw`%P\0%y\0%m\0%s\0%i\0%C@\0%l\0`
const fieldCount = 7
const kinds: Record<string, FolderEntry['kind']> = { f: 'file', d: 'folder', l: 'link' }

/** Every file, folder and link below a folder, by the sandbox's own `find`: names and links mean what they mean there. */
export async function listFolder(sandbox: Sandbox, folder: string, maxEntries: number): Promise<FoundFolder> {
  const found: FoundFolder = { exists: false, entries: [], unnamed: 0 }
  const script = 'test -d "$1" || exit 44; exec find "$1" -mindepth 1 -printf "$2"'
  let rest = Buffer.alloc(0)
  let values: string[] = []
  for await (const chunk of sandbox.exec({ args: ['sh', '-c', script, 'sh', `${folder}/`, fields], cwd: '/' })) {
    if ('exitCode' in chunk) found.exists = chunk.exitCode !== 44
    else if (chunk.stream === 'stdout') {
      const bytes = rest.length > 0 ? Buffer.concat([rest, chunk.data]) : Buffer.from(chunk.data)
      const end = bytes.lastIndexOf(0) + 1
      rest = bytes.subarray(end)
      for (const value of bytes.toString('utf8', 0, end).split('\0').slice(0, -1)) {
        values.push(value)
        if (values.length < fieldCount) continue
        take(values, found)
        values = []
      }
      if (found.entries.length > maxEntries) break
    }
  }
  return found
}

function take([path, type, mode, size, inode, changed, target]: string[], found: FoundFolder): void {
  const kind = kinds[type as string]
  if (!kind || path === undefined) return
  if (path.includes('\uFFFD')) {
    found.unnamed += 1
    return
  }
  found.entries.push({
    path,
    kind,
    mode: kind === 'link' ? 0 : Number.parseInt(mode as string, 8) & 0o777,
    sizeBytes: kind === 'file' ? Number(size) : 0,
    target: target as string,
    stamp: `${inode} ${size} ${changed}`,
    changedAtMs: Number(changed) * 1000,
  })
}
