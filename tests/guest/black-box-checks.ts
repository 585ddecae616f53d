import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { sceneSchema, toolProcessSchema } from '@vm0/contract'
import type { CpuStarvation, Scene, SceneProcess, ToolProcess } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import {
  groupOf,
  groups,
  installation,
  make,
  MiB,
  start,
  startCounter,
  take,
  using,
  watcher,
} from './guest-sandboxes.ts'

// What the black box tells on cgroup v2, by name.

type Starved = CpuStarvation & { share: number; scene: Scene }

/** Resolves once it is told that a sandbox went without CPU time: asked as at a run's end, until there was time enough to tell. */
async function starved(sandbox: Sandbox): Promise<Starved> {
  const told: Starved[] = []
  sandbox.blackBox.watch({ ...watcher, onStarved: (scene, share, how) => told.push({ ...how, share, scene }) })
  while (told.length === 0) {
    await wait(250)
    await sandbox.blackBox.settle()
  }
  return told[0]!
}

/** Percent of the last ten seconds in which something in it waited for a CPU. */
function waitedFor(sandbox: Sandbox): number {
  const pressure = readFileSync(join(groupOf(sandbox), 'cpu.pressure'), 'utf8')
  return Number(/^some avg10=([\d.]+)/.exec(pressure)?.[1])
}

/** Takes both CPUs of the guest, as a neighbour of the sandboxes that has the usual share. */
async function withCrowd(use: () => Promise<void>): Promise<void> {
  const group = join(groups, installation, 'crowd')
  mkdirSync(group)
  const crowd = [1, 2].map(() => spawn('busybox', ['sh', '-c', 'while :; do :; done'], { stdio: 'ignore' }))
  const ended = crowd.map((each) => once(each, 'exit'))
  try {
    for (const { pid } of crowd) writeFileSync(join(group, 'cgroup.procs'), String(pid))
    await use()
  } finally {
    for (const each of crowd) each.kill('SIGKILL')
    await Promise.all(ended)
    rmdirSync(group)
  }
}

export const blackBoxChecks: Record<string, () => Promise<void>> = {
  'where nothing holds it, at the memory limit the offender is killed and counted, and told with how others ended':
    () =>
      using(make(), (sandbox) =>
        using(make(), async (other) => {
          writeFileSync(join(groupOf(sandbox), 'memory.high'), 'max')
          const counter = await startCounter(sandbox)
          const killed = new Promise<[Scene, readonly SceneProcess[]]>((resolve) =>
            sandbox.blackBox.watch({ ...watcher, onKernelKill: (scene, victims) => resolve([scene, victims]) }),
          )
          const sinceMs = Date.now()
          // The subshell, as it ends, is the second one with the status 0.
          const lines = ['/bin/true', "perl -e 'exit 7'", "sh -c 'kill -SEGV $$'", `perl -e '${take(300 * MiB)}'`]
          const script = `system(q((${lines.join('; ')}; :) 2>/dev/null)); print "ended\\n"; <STDIN>`
          const command = await start(sandbox, script)
          await command.nextLine()
          const [scene, victims] = await killed
          const { processes } = sandbox.blackBox.processesSince(sinceMs, command.pid()!, () => true)
          for (const each of processes) toolProcessSchema.parse(each)
          const endOf = ({ exitCode, signal, measured }: ToolProcess) => `${signal ?? exitCode} by the ${measured}`
          const victim = processes.find(({ signal }) => signal === 'SIGKILL')
          assert.deepEqual(
            processes.map(endOf).toSorted(),
            ['0', '0', '7', 'SIGKILL', 'SIGSEGV'].map((end) => `${end} by the kernel`),
          )
          assert.ok(victim!.peakRssBytes > 64 * MiB, `${victim!.peakRssBytes} bytes at most`)
          assert.deepEqual(
            victims.map(({ pid }) => pid),
            [victim!.pid],
          )
          assert.equal(sceneSchema.parse(scene).pressure.of, 'sandbox')
          assert.ok(scene.memoryCurve.length > 0)
          await command.write('end')
          await command.exited
          assert.equal((await sandbox.stats()).oomKills, 1)
          await counter.goesOn()
          assert.equal((await other.stats()).oomKills, 0)
        }),
      ),

  'CPU time that its own limit takes, and that others take, are told apart': async () => {
    const [limited, crowdedOut] = await Promise.all([make(), make()])
    try {
      const busy = 'print "begun\n"; 1 while 1'
      await Promise.all([limited, crowdedOut].map(async (each) => (await start(each, busy)).nextLine()))
      await withCrowd(async () => {
        writeFileSync(join(groupOf(limited), 'cpu.max'), '5000 100000')
        writeFileSync(join(groupOf(crowdedOut), 'cpu.weight'), '1')
        // The kernel's average is one over ten seconds: what is told after two of them has to find it grown.
        while (waitedFor(crowdedOut) <= 20) await wait(100)
        const [own, others] = await Promise.all([starved(limited), starved(crowdedOut)])
        assert.equal(own.by, 'limit')
        assert.equal(own.allowedCpus, 0.05)
        assert.equal(others.by, 'others')
        assert.ok(
          others.usedCpus < 0.4 && others.allowedCpus === 2 && others.waitingTasks > 0.5,
          JSON.stringify(others),
        )
        const { pressure } = sceneSchema.parse(others.scene)
        assert.ok(pressure.of === 'sandbox' && pressure.cpu.some > 20, JSON.stringify(pressure))
      })
    } finally {
      await Promise.all([limited.close(), crowdedOut.close()])
    }
  },
}
