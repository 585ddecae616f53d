import { readFile, readdir, readlink } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'

/** In the environment of every program that an installation starts on the host, so that its next process finds them. */
const marker = 'VM0_INSTALLATION'
const endMs = 30_000

export function markChildren(installation: string): void {
  process.env[marker] = installation
}

/** In that of a sandbox's monitors, beside the marker: they go on with a sandbox that goes on. */
export const sandboxMarker = 'VM0_SANDBOX'

/**
 * Ends the programs that a killed process of this installation left at work (mkfs, mount, crun on its way): what they were
 * making would appear after the clean-up. Sandboxes are not among them: those are ended by their control groups, and what
 * they write into their environment must not count here. The monitors of sandboxes that are kept go on.
 */
export async function endStrays(installation: string, kept: readonly string[] = []): Promise<void> {
  const monitors = kept.map((id) => `\0${sandboxMarker}=${id}\0`)
  const wanted = `\0${marker}=${installation}\0`
  const ownPids = await readlink('/proc/self/ns/pid')
  const deadline = performance.now() + endMs
  for (;;) {
    const strays = await Promise.all(
      (await readdir('/proc')).filter(isPid).map((pid) => isStray(pid, wanted, { monitors, ownPids })),
    )
    const pids = strays.filter((pid) => pid !== undefined)
    if (pids.length === 0) return
    if (performance.now() > deadline)
      throw new Error(
        `processes of the installation ${installation} could not be ended within 30 s: ${pids.join(', ')}`,
      )
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        /* it has ended already */
      }
    }
    await wait(10)
  }
}

async function isStray(
  name: string,
  wanted: string,
  { monitors, ownPids }: { monitors: string[]; ownPids: string },
): Promise<number | undefined> {
  try {
    const environment = `\0${await readFile(`/proc/${name}/environ`, 'latin1')}`
    if (!environment.includes(wanted) || Number(name) === process.pid) return undefined
    if (monitors.some((monitor) => environment.includes(monitor))) return undefined
    return (await readlink(`/proc/${name}/ns/pid`)) === ownPids ? Number(name) : undefined
  } catch {
    return undefined // it has ended meanwhile
  }
}

const isPid = (name: string): boolean => /^\d+$/.test(name)
