import { Vm0Error } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import { openOutput } from '../command-output.js'
import { readAll } from '../exec-output.js'
import { checkPath, missing } from '../files.js'

/** Names come on stdin, each followed by a NUL, and mean what they mean inside the sandbox. */
type Names = AsyncIterable<Uint8Array>

const pack = `
test -d "$1" || exit 44
exec tar -c --format=posix --numeric-owner --no-recursion --null -C "$1" -f - -T -`
/** tar's status when a file changed while it was read, and when one was gone. */
const [changedMeanwhile, someFailed] = [1, 2]

export function readEntries(
  sandbox: Sandbox,
  folder: string,
  names: Names,
  release: () => void,
): Promise<AsyncIterable<Uint8Array>> {
  checkPath(folder)
  return openOutput(
    sandbox,
    { args: ['sh', '-c', pack, 'sh', folder], cwd: '/', stdin: names },
    ({ exitCode, stderr }) => {
      if (exitCode === 0 || exitCode === changedMeanwhile) return
      if (exitCode === 44) throw missing(folder, exitCode)
      if (exitCode === someFailed && onlyGone(stderr)) return
      throw new Vm0Error(
        'EXEC_FAILED',
        `packing files of ${folder} failed: ${stderr.trim() || `tar ended with ${exitCode}`}`,
      )
    },
    release,
  )
}

function onlyGone(stderr: string): boolean {
  const lines = stderr.trim().split('\n')
  return lines.every((line) => /Cannot stat: No such file|Exiting with failure status/.test(line))
}

export async function removeEntries(sandbox: Sandbox, folder: string, names: Names): Promise<void> {
  checkPath(folder)
  const script = 'cd "$1" 2>/dev/null || exit 44; exec xargs -0 -r rm -d -f --'
  const { exitCode, stderr } = await readAll(
    sandbox.exec({ args: ['sh', '-c', script, 'sh', folder], cwd: '/', stdin: names }),
    65_536,
  )
  if (exitCode === 44) throw missing(folder, exitCode)
  const words = stderr.trim()
  // What is left in a folder was not named: it stays, and so does the folder.
  if (exitCode === 0 || words.split('\n').every((line) => line.endsWith('Directory not empty'))) return
  throw new Vm0Error('FILE_INVALID', `removing files of ${folder} failed: ${words || `rm ended with ${exitCode}`}`)
}
