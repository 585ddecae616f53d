import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { lstat, mkdtemp, readFile, readdir, readlink, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Vm0Error } from '@vm0/contract/client'
import ignore, { type Ignore } from 'ignore'
import { packTar, type TarSource } from 'modern-tar/fs'
import type { Http, RequestBody } from './http.js'

const maxBytes = 2 * 1024 ** 3

/** Packs a local folder, without what its .gitignore files exclude, and sends it; gives the digest. */
export async function uploadWorkspace(http: Http, folder: string, signal?: AbortSignal): Promise<string> {
  const root = resolve(folder)
  const info = await stat(root).catch(() => undefined)
  if (!info?.isDirectory()) throw new Vm0Error('WORKSPACE_INVALID', `the workspace ${root} is not a folder`)
  const sources: TarSource[] = []
  let bytes = 0
  for await (const entry of walk(root, root, [])) {
    bytes += entry.size
    if (bytes > maxBytes)
      throw new Vm0Error(
        'WORKSPACE_INVALID',
        `the workspace ${root} is larger than ${maxBytes} bytes (${entry.source.target} was one too many)`,
      )
    sources.push(entry.source)
  }
  const scratch = await mkdtemp(join(tmpdir(), 'vm0-workspace-'))
  try {
    const file = join(scratch, 'workspace.tar')
    const hash = createHash('sha256')
    await pipeline(
      packTar(sources),
      async function* (source: AsyncIterable<Buffer>) {
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
      body: () => Readable.toWeb(createReadStream(file)) as unknown as RequestBody,
      signal,
    })
    return digest
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

interface Rules {
  base: string
  rules: Ignore
}

async function* walk(
  root: string,
  directory: string,
  outer: Rules[],
): AsyncGenerator<{ source: TarSource; size: number }> {
  const text = await readFile(join(directory, '.gitignore'), 'utf8').catch(() => '')
  const all = text ? [...outer, { base: directory, rules: ignore().add(text) }] : outer
  for (const name of (await readdir(directory)).toSorted()) {
    const path = join(directory, name)
    const info = await lstat(path)
    if (excluded(path, info.isDirectory(), all)) continue
    const target = relative(root, path)
    if (info.isDirectory()) {
      yield {
        source: {
          type: 'content',
          content: null,
          target: `${target}/`,
          mode: info.mode & 0o777,
          mtime: info.mtime,
        } as TarSource,
        size: 0,
      }
      yield* walk(root, path, all)
    } else if (info.isSymbolicLink()) {
      const link = await readlink(path)
      const pointsTo = resolve(dirname(path), link)
      if (isAbsolute(link) || relative(root, pointsTo).startsWith('..'))
        throw new Vm0Error('WORKSPACE_INVALID', `${target} is a symbolic link out of the workspace, to ${link}`)
      yield { source: { type: 'file', source: path, target }, size: 0 }
    } else if (info.isFile()) {
      yield { source: { type: 'file', source: path, target, mode: info.mode & 0o777 }, size: info.size }
    } else {
      throw new Vm0Error(
        'WORKSPACE_INVALID',
        `${target} is a socket, pipe or device; expected files, folders and links`,
      )
    }
  }
}

function excluded(path: string, isDirectory: boolean, all: Rules[]): boolean {
  let result = false
  for (const { base, rules } of all) {
    const verdict = rules.test(`${relative(base, path)}${isDirectory ? '/' : ''}`)
    if (verdict.ignored) result = true
    if (verdict.unignored) result = false
  }
  return result
}
