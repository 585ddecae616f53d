import { closeSync, constants, openSync, readSync } from 'node:fs'

const maxRecords = 50_000
const maxChars = 300
/** Names are their processes' own, and may look like the rest of the line: the last id counts. */
const forms = [/^.*\[(\d+)\]: (segfault at .*)$/, /^traps: .*\[(\d+)\] ((?:trap|general protection) .*)$/]

/**
 * What the kernel wrote of a process as it crashed: the kind of fault, where, and in which library. Undefined where it wrote
 * nothing, as of one that was sent a signal, or where its log can't be read.
 */
export function crashOf(pid: number): string | undefined {
  let found: string | undefined
  for (const line of kernelLog()) {
    const [, id, words] = forms.map((form) => form.exec(line)).find(Boolean) ?? []
    if (Number(id) === pid) found = words?.slice(0, maxChars)
  }
  return found
}

/** Messages of the kernel's log, the oldest that it still has first. */
function* kernelLog(): Generator<string> {
  let fd: number
  try {
    fd = openSync('/dev/kmsg', constants.O_RDONLY | constants.O_NONBLOCK)
  } catch {
    return
  }
  const buffer = Buffer.allocUnsafe(8192)
  try {
    for (let count = 0; count < maxRecords; count += 1) {
      let bytes: number
      try {
        bytes = readSync(fd, buffer, 0, buffer.length, null)
      } catch (error) {
        // What was to be read next has been overwritten meanwhile.
        if ((error as NodeJS.ErrnoException).code === 'EPIPE') continue
        return
      }
      const [, message = ''] = /^[^;]*;(.*)/.exec(buffer.toString('latin1', 0, bytes)) ?? []
      yield message
    }
  } finally {
    closeSync(fd)
  }
}
