import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openOciEngine } from '@vm0/sandbox'
import type { Sandbox, SandboxEngine, SandboxWatcher } from '@vm0/sandbox'

// The engine of the guest, and what the checks do in its sandboxes.

export const installation = 'guest'
export const groups = '/sys/fs/cgroup/vm0'
const templateImage = '/disks/template.erofs'
export const MiB = 1024 ** 2

export let engine: SandboxEngine
let serial = 0

export async function openEngine(): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'vm0-'))
  engine = await openOciEngine({ minFreeBytes: 64 * 1024 ** 2, installation, dataDir, gatewayPort: 7301 })
}

export function make(images: string[] = [], cpus = 2): Promise<Sandbox> {
  const layers = images.map((path) => ({ path, devices: [] }))
  const resources = { memoryMiB: 128, cpus, diskMiB: 64, processes: 40 }
  return engine.create({ id: `s${++serial}`, templateImage, layers, resources, platformMounts: [] })
}

export async function using(made: Promise<Sandbox>, use: (sandbox: Sandbox) => Promise<void>): Promise<void> {
  const sandbox = await made
  try {
    await use(sandbox)
  } finally {
    await sandbox.close()
  }
}

export const groupOf = (sandbox: Sandbox): string => join(groups, installation, sandbox.id)

export async function sh(sandbox: Sandbox, script: string): Promise<{ status: number; out: string }> {
  let out = ''
  for await (const chunk of sandbox.exec({ args: ['bash', '-c', script], cwd: '/' })) {
    if ('exitCode' in chunk) return { status: chunk.exitCode, out: out.trim() }
    out += Buffer.from(chunk.data).toString()
  }
  throw new Error('no exit code')
}

/** Perl, since under emulation Python takes seconds to start. */
export async function start(sandbox: Sandbox, perl: string) {
  const args = ['perl', '-e', `$| = 1; ${perl}`]
  const started = await sandbox.spawn({ id: `p${++serial}`, args, env: {}, cwd: '/', maxOutputBytes: 64 * MiB })
  const lines = started.output()[Symbol.asyncIterator]()
  return Object.assign(started, { nextLine: async () => (await lines.next()).value.text as string })
}

/** Something that prints 1, 2, 3… as long as it lives. */
export async function startCounter(sandbox: Sandbox): Promise<{ goesOn(): Promise<void> }> {
  const { nextLine } = await start(sandbox, 'while (1) { print ++$i, "\\n"; select undef, undef, undef, 0.02 }')
  await nextLine()
  return {
    async goesOn() {
      const goal = Number(await nextLine()) + 50
      while (Number(await nextLine()) < goal);
    },
  }
}

export const watcher: SandboxWatcher = {
  agentPid: () => undefined,
  wantsProcesses: () => true,
  onMemoryLimit: (met) => met.stop(),
}

/** Compressed memory that `use` may have the guest swap to. A loop device would charge what it holds to whoever swaps. */
export async function withSwap(use: (swapOn: () => void) => Promise<void>): Promise<void> {
  execFileSync('modprobe', ['zram'])
  try {
    writeFileSync('/sys/block/zram0/disksize', '64M')
    execFileSync('mkswap', ['-q', '/dev/zram0'])
    await use(() => void execFileSync('swapon', ['/dev/zram0']))
  } finally {
    if (readFileSync('/proc/swaps', 'utf8').includes('zram0')) execFileSync('swapoff', ['/dev/zram0'])
    execFileSync('modprobe', ['-r', 'zram'])
  }
}

export const burn = (cpuSeconds: number): string => `perl -e '1 while (times)[0] < ${cpuSeconds}'`
export const take = (bytes: number): string => `vec($x, ${bytes - 1}, 8) = 1;`
