import { closeSync, constants, lstatSync, openSync, readdirSync } from 'node:fs'
import type { Uncommitted } from '@vm0/contract'

const maxEntries = 4_000
const maxPaths = 20
/** What is made anew from what is kept, and large. */
const passedOver = new Set(['node_modules', '.git', 'target', '__pycache__', '.venv'])
const openDirectory = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/**
 * Files below a folder of the host that a sandbox can write to, changed since then. Each folder is opened by one step from
 * the one above: a link that is put in its place meanwhile isn't followed.
 */
export function changedFiles(folder: string, sinceMs: number): Uncommitted {
  const paths: string[] = []
  let more = 0
  let left = maxEntries
  const walk = (at: string, shown: string): void => {
    let fd: number
    try {
      fd = openSync(at, openDirectory)
    } catch {
      return
    }
    try {
      const here = `/proc/self/fd/${fd}`
      for (const name of readdirSync(here)) {
        if (left-- <= 0) return
        const stat = lstatSync(`${here}/${name}`, { throwIfNoEntry: false })
        if (stat?.isDirectory() && !passedOver.has(name)) walk(`${here}/${name}`, `${shown}${name}/`)
        else if (stat?.isFile() && stat.ctimeMs > sinceMs) {
          if (paths.length < maxPaths) paths.push(`${shown}${name}`.slice(0, 300))
          else more += 1
        }
      }
    } catch {
      /* it is gone meanwhile */
    } finally {
      closeSync(fd)
    }
  }
  walk(folder, '')
  return { paths: paths.toSorted(), more }
}
