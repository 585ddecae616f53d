import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'

const tailBytes = 4_096
const shownLines = 5
const lineChars = 300

/** The last lines that a process has written where its stdout, or stderr, is a file; nothing of pipes can be read. */
export function lastOutputOf(pid: number): string[] {
  for (const fd of [1, 2]) {
    const lines = tailOf(`/proc/${pid}/fd/${fd}`)
    if (lines.length > 0) return lines
  }
  return []
}

/** The link leads to the file itself, by whatever name; what is no file is opened without waiting, and left alone. */
function tailOf(path: string): string[] {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch {
    return []
  }
  try {
    const file = fstatSync(fd)
    if (!file.isFile()) return []
    const buffer = Buffer.alloc(tailBytes)
    const read = readSync(fd, buffer, 0, tailBytes, Math.max(0, file.size - tailBytes))
    return buffer
      .toString('utf8', 0, read)
      .split(/\r?\n|\r/)
      .filter((line) => line.trim() !== '')
      .slice(-shownLines)
      .map((line) => line.slice(0, lineChars))
  } catch {
    return []
  } finally {
    closeSync(fd)
  }
}
