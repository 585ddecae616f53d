import assert from 'node:assert/strict'
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { reapInstallation } from '@vm0/sandbox'
import type { MemoryLimitMet } from '@vm0/sandbox'
import { blackBoxChecks } from './black-box-checks.ts'
import {
  burn,
  engine,
  groupOf,
  groups,
  installation,
  make,
  MiB,
  sh,
  start,
  startCounter,
  take,
  using,
  watcher,
  withSwap,
} from './guest-sandboxes.ts'

export { openEngine } from './guest-sandboxes.ts'

// What must hold on cgroup v2, by name. The guest runs the functions; the test outside imports the names.

export const checks: Record<string, () => Promise<void>> = {
  'a sandbox has a group of its own with its limits, and sees nothing above it': () =>
    using(make([], 1.5), async (sandbox) => {
      const files = ['memory.max', 'memory.swap.max', 'memory.oom.group', 'pids.max', 'cpu.max']
      assert.deepEqual(
        files.map((file) => readFileSync(join(groupOf(sandbox), file), 'utf8').trim()),
        [String(128 * MiB), '0', '0', '40', '150000 100000'],
      )
      assert.equal(
        (await sh(sandbox, 'cd /sys/fs/cgroup; cat /proc/self/cgroup memory.max; find . -mindepth 1 -type d')).out,
        `0::/\n${128 * MiB}`,
      )
      for (const forbidden of ['echo 1 >cgroup.freeze', 'echo max >memory.max', 'mkdir x'])
        assert.notEqual((await sh(sandbox, `cd /sys/fs/cgroup; (${forbidden}) 2>/dev/null`)).status, 0, forbidden)
    }),

  'freeze stops a sandbox at once, and only that one; thaw lets it go on': () =>
    using(make(), (frozen) =>
      using(make(), async (other) => {
        const counter = await startCounter(frozen)
        await frozen.freeze()
        const { cpuMs } = await frozen.stats()
        await sh(other, burn(0.5))
        assert.equal((await frozen.stats()).cpuMs, cpuMs)
        await frozen.thaw()
        await counter.goesOn()
        assert.ok((await frozen.stats()).cpuMs > cpuMs)
      }),
    ),

  'one that yields has a smaller share of the CPU until it need not any more': () =>
    using(make(), async (sandbox) => {
      const weight = () => Number(readFileSync(join(groupOf(sandbox), 'cpu.weight'), 'utf8'))
      const usual = weight()
      const takeShare = await sandbox.yieldCpu()
      assert.ok(weight() <= usual / 4)
      await takeShare()
      assert.equal(weight(), usual)
    }),

  'the statistics tell what it did: memory, its peak, processes, cpu': () =>
    using(make(), async (sandbox) => {
      const startedAtMs = performance.now()
      const before = await sandbox.stats()
      const hog = await start(sandbox, `${take(64 * MiB)} print "full\\n"; <STDIN>`)
      await hog.nextLine()
      const full = await sandbox.stats()
      assert.equal(full.processes, before.processes + 1)
      assert.ok(full.memoryBytes > 64 * MiB, `${full.memoryBytes} bytes while it holds 64 MiB`)
      await hog.write('end')
      await hog.exited
      await sh(sandbox, burn(0.5))
      const after = await sandbox.stats()
      assert.ok(after.memoryBytes < full.memoryBytes - 60 * MiB, `${after.memoryBytes} bytes when it has ended`)
      assert.ok(after.memoryPeakBytes >= full.memoryBytes && after.memoryPeakBytes <= 128 * MiB)
      assert.ok(after.cpuMs - full.cpuMs >= 500, `${after.cpuMs - full.cpuMs} ms for 500 ms and more`)
      assert.ok(after.cpuMs - before.cpuMs <= 2 * (performance.now() - startedAtMs), 'more than two CPUs can do')
      assert.equal(after.oomKills, 0)
    }),

  ...blackBoxChecks,

  'a sandbox is held below its memory limit, and what is to blame is ended before the kernel kills': () =>
    using(make(), async (sandbox) => {
      const counter = await startCounter(sandbox)
      let met: MemoryLimitMet | undefined
      sandbox.blackBox.watch({ ...watcher, onMemoryLimit: (each) => ((met ??= each), each.stop()) })
      assert.equal((await sh(sandbox, `perl -e '${take(300 * MiB)}'`)).status, 137)
      assert.equal((await sandbox.stats()).oomKills, 0)
      assert.match(met?.blamed?.process.command ?? '', /^perl -e vec/)
      assert.ok((met?.blamed?.rssBytes ?? 0) > 60 * MiB && met?.scene.pressure.of === 'sandbox')
      await counter.goesOn()
    }),

  'held at its limit a sandbox goes on with twice the memory': () =>
    using(make(), async (sandbox) => {
      sandbox.blackBox.watch({ ...watcher, onMemoryLimit: (met) => met.raise(256 * MiB) })
      assert.equal((await sh(sandbox, `perl -e '${take(150 * MiB)}'; echo done`)).out, 'done')
      assert.equal(readFileSync(join(groupOf(sandbox), 'memory.max'), 'utf8').trim(), String(256 * MiB))
      assert.equal((await sandbox.stats()).oomKills, 0)
    }),

  'a page cache that fills the memory up to the limit is no lack of it': () =>
    using(make(), async (sandbox) => {
      let met = 0
      sandbox.blackBox.watch({ ...watcher, onMemoryLimit: (each) => ((met += 1), each.stop()) })
      const write =
        'for n in 1 2 3 4; do dd if=/dev/zero of=/root/f bs=1M count=48 2>/dev/null; cat /root/f >/dev/null; done'
      assert.equal(
        (await sh(sandbox, `${write}; cp /root/f /dev/shm/f 2>/dev/null; cat /usr/bin/* >/dev/null; echo done`)).out,
        'done',
      )
      assert.equal(met, 0)
    }),

  'the memory of a frozen sandbox is taken back, that of its programs where the host has swap': () =>
    withSwap((swapOn) =>
      using(make(), async (sandbox) => {
        // Not of zeros: the kernel may drop pages of them that it splits. It goes on until it was looked at.
        const fill = `$n = ${24 * MiB}; $x = "\\1" x $n; print "full\\n"; <STDIN>; print $x =~ tr/\\1//, "\\n"; <STDIN>`
        const hog = await start(sandbox, fill)
        await hog.nextLine()
        await sandbox.freeze()
        const held = async () => Math.round((await sandbox.stats()).memoryBytes / MiB)
        await sandbox.reclaim(new AbortController().signal)
        assert.ok((await held()) >= 24, `${await held()} MiB though there is no place for it`)
        swapOn()
        assert.equal(await sandbox.reclaim(AbortSignal.abort()), 0)
        assert.ok((await sandbox.reclaim(new AbortController().signal)) > 20 * MiB)
        assert.ok((await held()) < 12, `${await held()} MiB`)
        const limits = ['memory.swap.max', 'memory.max'].map((name) =>
          readFileSync(join(groupOf(sandbox), name), 'utf8'),
        )
        assert.deepEqual(limits, ['0\n', `${128 * MiB}\n`])
        await sandbox.thaw()
        await hog.write('go on')
        assert.equal(await hog.nextLine(), String(24 * MiB))
        assert.ok((await held()) >= 24, `${await held()} MiB when it was read again`)
        await hog.kill()
      }),
    ),

  'it gets no more processes than its limit': () =>
    using(make(), async (sandbox) => {
      const forks = '$n++ while $n < 100 && defined($child = fork) && $child; sleep 600 if defined $child && !$child;'
      const parent = await start(sandbox, `${forks} print "$n\\n"; sleep 600`)
      const forked = Number(await parent.nextLine())
      assert.ok(forked > 30 && forked < 40, `${forked} processes more`)
      assert.equal((await sandbox.stats()).processes, 40)
      await parent.kill()
    }),

  'two busy processes get the cpu time of the quota between them': () =>
    using(make([], 0.5), async (sandbox) => {
      const startedAtMs = performance.now()
      const { cpuMs } = await sandbox.stats()
      assert.equal((await sh(sandbox, `${burn(0.4)} & ${burn(0.4)} & wait`)).status, 0)
      const share = ((await sandbox.stats()).cpuMs - cpuMs) / (performance.now() - startedAtMs)
      assert.ok(share > 0.2 && share < 0.6, `they used ${share.toFixed(2)} CPUs`)
    }),

  'the layer of a frozen sandbox is the same tree in another uid range': () =>
    using(make(), async (first) => {
      const layer = join(tmpdir(), 'layer.erofs')
      await sh(first, 'echo kept >/workspace/a; chown 1000:1000 /workspace/a; rm /etc/debian_version')
      await first.freeze()
      await first.withUpperView(async (upper) => void execFileSync('mkfs.erofs', ['--quiet', layer, upper]))
      await first.thaw()
      await using(make([layer]), async (second) => {
        assert.notEqual(second.address, first.address)
        const { out } = await sh(second, 'stat -c %u:%g /workspace/a; cat /workspace/a; ls /etc/debian_version 2>&1')
        assert.match(out, /^1000:1000\nkept\nls: .*No such file/)
      })
    }),

  'a sandbox that is closed while frozen and busy leaves no group and no mount': async () => {
    const sandbox = await make()
    await startCounter(sandbox)
    await sandbox.freeze()
    assert.ok(existsSync(groupOf(sandbox)))
    await sandbox.close()
    assert.equal(existsSync(groupOf(sandbox)), false)
    assert.equal(readFileSync('/proc/self/mounts', 'utf8').includes(`/${sandbox.id}/`), false)
  },

  'what a dead process left is reaped: frozen and nested groups with what runs in them': async () => {
    const nested = join(groups, 'dead', 'a', 'b')
    mkdirSync(nested, { recursive: true })
    const left = spawn('sleep', ['600'])
    const ended = once(left, 'exit')
    writeFileSync(join(nested, 'cgroup.procs'), String(left.pid))
    writeFileSync(join(groups, 'dead', 'cgroup.freeze'), '1')
    await reapInstallation({ installation: 'dead', dataDir: join(tmpdir(), 'dead') })
    assert.equal(existsSync(join(groups, 'dead')), false)
    assert.deepEqual(await ended, [null, 'SIGKILL'])
  },

  'a closed engine leaves no group, mount, loop device, link, rule or slot': async () => {
    await make()
    await engine.close()
    assert.equal(existsSync(join(groups, installation)), false)
    assert.equal(readFileSync('/proc/self/mounts', 'utf8').includes('/run/vm0/'), false)
    assert.equal(execFileSync('losetup', ['-a'], { encoding: 'utf8' }), '')
    assert.equal(execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' }), '')
    assert.deepEqual(readdirSync('/sys/class/net'), ['lo'])
    assert.deepEqual(readdirSync('/run/vm0/slots'), [])
  },

  'in a container, whose own processes are in the root group, a sandbox has its limits too': async () => {
    const [firstCheck] = Object.keys(checks)
    const script = `
      mkdir /sys/fs/cgroup/container
      echo $$ >/sys/fs/cgroup/container/cgroup.procs
      exec unshare --cgroup --mount sh -c 'umount /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec "$@"' sh "$@"`
    const main = join(import.meta.dirname, 'cgroup2-main.ts')
    const { stdout } = await promisify(execFile)('sh', ['-c', script, 'sh', process.execPath, main, firstCheck!])
    assert.deepEqual(Object.keys(JSON.parse(stdout)), ['name', 'durationMs'])
  },
}
