import { setTimeout as wait } from 'node:timers/promises'
import type { Vm0 } from 'vm0'
import { startPlatform } from './local-platform.js'
import type { ModelFront } from './model-front.js'
import { cpuOfPlatform } from './platform-cpu.js'
import { cpuOfSandboxes, memoryOfSandboxes } from './sandbox-use.js'
import { median, row, tableHead } from './statistics.js'
import { swapMiB, Zram } from './zram.js'

const watchedMs = 10_000
const MiB = 1024 ** 2

/**
 * Many sessions whose sandboxes are frozen, their memory given back: what they use, and how long the next prompt of one takes.
 * First on the host as it is, then with a swap of compressed memory, which is there for as long as this takes.
 */
export async function measureFrozen(front: ModelFront, nextTag: () => string, sessions: number): Promise<string> {
  process.env.VM0_MAX_SANDBOXES = String(sessions + 4)
  const args = ['--warm', '0', '--freeze', '1', '--idle', '3600', '--reclaim-below', '100']
  const platform = await startPlatform(front.url, args)
  const { client, dataDir } = platform
  let zram: Zram | undefined
  try {
    const before = await useOf(dataDir)
    const ids: string[] = []
    const prompt = async (session?: string): Promise<number> => {
      const tag = nextTag()
      const arrival = front.arrival(tag)
      const startedMs = performance.now()
      const run = client.run({ prompt: tag, ...(session ? { session } : {}) })
      const ms = (await arrival) - startedMs
      await run
      if (!session) ids.push(run.session.id)
      return ms
    }
    const makers = Array.from({ length: 4 }, async () => {
      while (ids.length + 4 <= sessions) await prompt()
    })
    await Promise.all(makers)
    while (ids.length < sessions) await prompt()
    await allReclaimed(client, sessions)
    const frozen = await useOf(dataDir)
    const perSession = median(await memoryOfSandboxes(dataDir)) / MiB

    const some = ids.slice(0, Math.min(20, sessions))
    const plain: number[] = []
    for (const id of some) plain.push(await prompt(id))
    await allReclaimed(client, sessions)
    const had = swapMiB()
    const rows = [row(`next prompt, frozen and reclaimed; ${had > 0 ? `swap of ${had} MiB` : 'no swap'}`, plain)]
    const words: string[] = []
    if (had === 0) zram = Zram.open(8192)
    if (zram) {
      // What was given back before there was a swap is not given back again until the session was used.
      for (const id of some) await prompt(id)
      await allReclaimed(client, sessions)
      const charged = (await memoryOfSandboxes(dataDir)).toSorted((a, b) => a - b).slice(0, some.length)
      const { heldBytes, takenBytes } = zram.use()
      const swapped: number[] = []
      for (const id of some) swapped.push(await prompt(id))
      rows.push(row('the same with zram', swapped))
      const total = median(charged) / MiB + takenBytes / MiB / some.length
      words.push(
        `With zram ${(median(charged) / MiB).toFixed(0)} MiB each, and ${(takenBytes / MiB / some.length).toFixed(0)} in zram for ${(heldBytes / MiB / some.length).toFixed(0)} that it holds: ${(1024 / total).toFixed(1)} per GiB.`,
      )
    }
    return [
      tableHead,
      ...rows,
      '',
      `Memory of ${sessions} frozen sessions, reclaimed: ${perSession.toFixed(0)} MiB each (median), ${(1024 / perSession).toFixed(1)} per GiB. ${words.join('')}`,
      `Their sandboxes used ${frozen.sandboxes.toFixed(3)}% of a core over ten seconds, the platform ${frozen.platform.toFixed(2)}% (${before.platform.toFixed(2)}% with none).`,
    ].join('\n')
  } finally {
    await platform.close()
    zram?.close()
  }
}

/** Percent of a core over ten seconds. */
async function useOf(dataDir: string): Promise<{ sandboxes: number; platform: number }> {
  const before = await cpuOfPlatform(dataDir)
  const startedMs = performance.now()
  const sandboxes = await cpuOfSandboxes(dataDir, watchedMs)
  const platform = (100 * ((await cpuOfPlatform(dataDir)) - before)) / (performance.now() - startedMs)
  return { sandboxes, platform }
}

async function allReclaimed(client: Vm0, count: number): Promise<void> {
  while ((await client.runners.list())[0]!.reclaimed < count) await wait(50)
}
