import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, readlinkSync } from 'node:fs'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { Vm0Error, webStreamOf } from '@vm0/contract/client'
import type { Http, RequestBody } from '../http.js'
import { walkFolder, type LocalEntry, type WalkOptions } from './local-tree.js'
import { packEntries } from './pack-entries.js'

const maxBytes = 2 * 1024 ** 3

/** Packs a local folder, by default without what its .gitignore files exclude, and sends it; gives the digest. */
export async function uploadWorkspace(
  http: Http,
  folder: string,
  signal?: AbortSignal,
  walk: WalkOptions = { gitignore: true },
): Promise<string> {
  const root = resolve(folder)
  const info = await stat(root).catch(() => undefined)
  if (!info?.isDirectory()) throw new Vm0Error('WORKSPACE_INVALID', `the workspace ${root} is not a folder`)
  const entries: LocalEntry[] = []
  let bytes = 0
  const take = (entry: LocalEntry): void => {
    if (entry.info.kind === 'link') refuseEscape(root, entry)
    if (entry.info.kind === 'file') bytes += entry.info.size
    if (bytes > maxBytes)
      throw new Vm0Error(
        'WORKSPACE_INVALID',
        `the workspace ${root} is larger than ${maxBytes} bytes (${entry.name} was one too many)`,
      )
    entries.push(entry)
  }
  await walkFolder(root, walk, take, signal)
  const scratch = await mkdtemp(join(tmpdir(), 'vm0-workspace-'))
  try {
    const file = join(scratch, 'workspace.tar')
    const hash = createHash('sha256')
    await pipeline(
      packEntries(entries, 'WORKSPACE_INVALID'),
      async function* (source: AsyncIterable<Uint8Array>) {
        for await (const chunk of source) {
          hash.update(chunk)
          yield chunk
        }
      },
      createWriteStream(file, { mode: 0o600 }),
    )
    const digest = `sha256:${hash.digest('hex')}`
    await http.json(`/uploads/${digest}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/octet-stream' },
      body: () => webStreamOf(createReadStream(file)) as RequestBody,
      signal,
      patient: true,
    })
    return digest
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

function refuseEscape(root: string, { path, name }: LocalEntry): void {
  const link = readlinkSync(path)
  if (isAbsolute(link) || relative(root, resolve(dirname(path), link)).startsWith('..'))
    throw new Vm0Error('WORKSPACE_INVALID', `${name} is a symbolic link out of the workspace, to ${link}`)
}
