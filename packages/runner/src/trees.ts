import { posix } from 'node:path'
import { Vm0Error } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import { openOutput } from './command-output.js'
import { readAll } from './exec-output.js'
import { checkPath, missing } from './files.js'

const pack = `
if test -d "$1"; then exec tar -c --format=posix --numeric-owner -C "$1" -f - .; fi
test -e "$1" || exit 44
exec tar -c -h --format=posix --numeric-owner -C "$2" -f - -- "./$3"
`
/** tar's status when a file changed or grew while it was read: the archive is whole, as a copy of a live folder can be. */
const changedMeanwhile = 1

/** Trees are packed and unpacked by tar inside the sandbox: names and links in them mean nothing to the host. */
export function readTree(sandbox: Sandbox, path: string, release: () => void): Promise<AsyncIterable<Uint8Array>> {
  checkPath(path)
  const plain = posix.normalize(path)
  return openOutput(
    sandbox,
    { args: ['sh', '-c', pack, 'sh', plain, posix.dirname(plain), posix.basename(plain)], cwd: '/' },
    ({ exitCode, stderr }) => {
      if (exitCode === 0 || exitCode === changedMeanwhile) return
      if (exitCode === 44) throw missing(path, exitCode)
      throw new Vm0Error('EXEC_FAILED', `packing ${path} failed: ${stderr.trim() || `tar ended with ${exitCode}`}`)
    },
    release,
  )
}

export async function writeTree(sandbox: Sandbox, path: string, content: AsyncIterable<Uint8Array>): Promise<void> {
  checkPath(path)
  const result = await readAll(
    sandbox.exec({
      args: ['sh', '-c', 'mkdir -p -- "$1" && exec tar -x -p --no-same-owner -C "$1" -f -', 'sh', path],
      cwd: '/',
      stdin: content,
    }),
    65_536,
  )
  if (result.exitCode === 0) return
  const said = result.stderr.trim()
  // A file that is cut by the end of the disk is told by its length, the next one by the error's name.
  if (/No space left|Wrote only \d+ of/.test(said))
    throw new Vm0Error('SANDBOX_DISK_FULL', `unpacking into ${path} failed: the session's disk is full`)
  throw new Vm0Error(
    'FILE_INVALID',
    `unpacking into ${path} failed: ${said.slice(-2000) || `tar ended with ${result.exitCode}`}`,
    { hint: 'Send a tar archive, for a path that is a folder or not there yet.' },
  )
}
