import type { Sandbox } from '@vm0/sandbox'
import type { FoundEntry, KnownFolder } from './known-folder.js'

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

/** Every file, folder and link below a folder, by the sandbox's own `find`: names and links mean what they mean there. */
export async function listFolder(
  sandbox: Sandbox,
  folder: string,
  known: KnownFolder,
  maxEntries: number,
): Promise<FoundFolder> {
  const found: FoundFolder = { exists: false, entries: [], unnamed: 0 }
  const look = known.look()
  const take = (line: string, target: string): void => {
    if (!isClean && line.includes('\uFFFD')) found.unnamed += 1
    else {
      const entry = look.take(line, target)
      if (entry) found.entries.push(entry)
    }
  }
  const args = ['sh', '-c', script, 'sh', `${folder}/`, facts, String.raw`%l\0`]
  let rest = Buffer.alloc(0)
  let link: string | undefined
  // Looked at once for many: whether a name may be none that is UTF-8.
  let isClean = true
  for await (const chunk of sandbox.exec({ args, cwd: '/' })) {
    if ('exitCode' in chunk) found.exists = chunk.exitCode !== 44
    else if (chunk.stream === 'stdout') {
      const bytes = rest.length > 0 ? Buffer.concat([rest, chunk.data]) : Buffer.from(chunk.data)
      const end = bytes.lastIndexOf(0) + 1
      rest = bytes.subarray(end)
      const text = bytes.toString('utf8', 0, end)
      isClean &&= !text.includes('\uFFFD')
      for (const value of text.split('\0').slice(0, -1)) {
        if (link !== undefined) {
          take(link, value)
          link = undefined
        } else if (value.startsWith('l')) link = value
        else take(value, '')
      }
      if (found.entries.length > maxEntries) return found
    }
  }
  look.end()
  return found
}
