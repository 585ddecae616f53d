import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { spawn } from '@vm0/process'

/** An id mapping as the kernel's uid_map has it: ids in the file system, ids they show as, how many. */
export interface IdMapping {
  from: number
  to: number
  count: number
}

/** Slots are used again, the lowest first: each needs two. */
const maxKept = 128

const kept = new Map<string, Promise<number>>()

/**
 * Calls `use` with a descriptor of a user namespace that has this mapping; it must not wait for anything. To make one takes
 * two programs and some milliseconds, so they are kept.
 */
export async function withUserNamespace<T>(mapping: IdMapping, use: (fd: number) => T): Promise<T> {
  const key = `${mapping.from} ${mapping.to} ${mapping.count}`
  const found = kept.get(key) ?? make(key)
  kept.delete(key)
  kept.set(key, found)
  found.catch(() => kept.delete(key))
  const fd = await found
  try {
    return use(fd)
  } finally {
    const [oldest] = kept
    if (oldest && kept.size > maxKept) {
      kept.delete(oldest[0])
      closeSync(await oldest[1])
    }
  }
}

/** Node has many threads and can't unshare itself: a child that ends at once makes it. */
async function make(map: string): Promise<number> {
  const child = spawn('unshare', ['--user', 'cat'], { stdio: ['pipe', 'pipe', 'ignore'] })
  child.stdin.on('error', () => undefined)
  const closed = once(child, 'close')
  try {
    // What comes back has been through a program that is in the namespace.
    child.stdin.write('\n')
    const [answer] = await Promise.race([once(child.stdout, 'data'), closed.then(() => [undefined])])
    if (!answer) throw new Error('unshare --user failed: expected user namespaces to be allowed')
    await writeFile(`/proc/${child.pid}/uid_map`, `${map}\n`)
    await writeFile(`/proc/${child.pid}/gid_map`, `${map}\n`)
    return openSync(`/proc/${child.pid}/ns/user`, 'r')
  } finally {
    child.stdin.end()
  }
}
