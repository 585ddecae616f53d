import { Vm0Error, type FileEntry } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import { openOutput } from './command-output.js'
import { readAll } from './exec-output.js'

const maxListing = 16 * 1024 ** 2

/** File operations run inside the sandbox: its names and links mean what they mean there, and nothing of the host. */
export function readFile(sandbox: Sandbox, path: string, release: () => void): Promise<AsyncIterable<Uint8Array>> {
  checkPath(path)
  return openOutput(
    sandbox,
    {
      args: ['sh', '-c', 'test -e "$1" || exit 44; test -f "$1" || exit 45; exec cat -- "$1"', 'sh', path],
      cwd: '/',
    },
    ({ exitCode }) => {
      if (exitCode === 44 || exitCode === 45) throw missing(path, exitCode)
      if (exitCode !== 0) throw new Vm0Error('EXEC_FAILED', `reading ${path} ended with status ${exitCode}`)
    },
    release,
  )
}

export async function writeFile(sandbox: Sandbox, path: string, content: AsyncIterable<Uint8Array>): Promise<void> {
  checkPath(path)
  const result = await readAll(
    sandbox.exec({
      args: ['sh', '-c', 'mkdir -p -- "$(dirname -- "$1")" && exec cat >"$1"', 'sh', path],
      cwd: '/',
      stdin: content,
    }),
    65_536,
  )
  if (result.exitCode === 0) return
  if (/No space left/.test(result.stderr))
    throw new Vm0Error('SANDBOX_DISK_FULL', `writing ${path} failed: the session's disk is full`)
  throw new Vm0Error('FILE_INVALID', `writing ${path} failed: ${result.stderr.trim()}`)
}

const printEntry = String.raw`%f\0%y\0%s\0%m\0%T@\0`

export async function listFiles(sandbox: Sandbox, path: string): Promise<FileEntry[]> {
  checkPath(path)
  const entries = await find(sandbox, path, ['-mindepth', '1', '-maxdepth', '1'])
  return entries
    .map((entry) => ({ ...entry, path: `${path.replace(/\/+$/, '')}/${entry.name}` }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** The entry itself: a symbolic link is told as one, not as what it points to. */
export async function statFile(sandbox: Sandbox, path: string): Promise<FileEntry> {
  checkPath(path)
  const [entry] = await find(sandbox, path.replace(/(.)\/+$/, '$1'), ['-maxdepth', '0'])
  if (!entry) throw missing(path, 44)
  return { ...entry, path }
}

async function find(sandbox: Sandbox, path: string, depth: string[]): Promise<Omit<FileEntry, 'path'>[]> {
  const result = await readAll(
    sandbox.exec({ args: ['find', path, ...depth, '-printf', printEntry], cwd: '/' }),
    maxListing,
  )
  if (result.exitCode !== 0) throw missing(path, 44)
  const fields = result.stdout.split('\0')
  const entries: Omit<FileEntry, 'path'>[] = []
  for (let index = 0; index + 4 < fields.length; index += 5) {
    const [name, type, size, mode, modified] = fields.slice(index, index + 5) as [
      string,
      string,
      string,
      string,
      string,
    ]
    entries.push({
      name,
      type: ({ f: 'file', d: 'directory', l: 'symlink' } as const)[type] ?? 'other',
      sizeBytes: Number(size),
      mode: Number.parseInt(mode, 8),
      modifiedAt: new Date(Number(modified) * 1000).toISOString(),
    })
  }
  return entries
}

export async function removeFile(sandbox: Sandbox, path: string): Promise<void> {
  checkPath(path)
  const result = await readAll(
    sandbox.exec({
      args: ['sh', '-c', 'test -e "$1" || test -L "$1" || exit 44; exec rm -rf -- "$1"', 'sh', path],
      cwd: '/',
    }),
    65_536,
  )
  if (result.exitCode === 44) throw missing(path, 44)
  if (result.exitCode !== 0) throw new Vm0Error('FILE_INVALID', `removing ${path} failed: ${result.stderr.trim()}`)
}

export function checkPath(path: string): void {
  if (!path.startsWith('/') || path.includes('\0') || path.length > 4096)
    throw new Vm0Error(
      'FILE_INVALID',
      `path ${JSON.stringify(path.slice(0, 200))}: expected an absolute one of at most 4096 characters`,
    )
}

export function missing(path: string, status: number): Vm0Error {
  return status === 45
    ? new Vm0Error('FILE_INVALID', `${path} is not a regular file`)
    : new Vm0Error('FILE_NOT_FOUND', `${path} does not exist`)
}
