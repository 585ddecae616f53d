import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, homedir, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { ensureTemplate, openOciEngine, type Sandbox, type SandboxWatcher } from '@vm0/sandbox'

/**
 * What the recorder of sandboxes costs: CPU time of this process, in which nothing else runs, without a sandbox, with some that
 * do as much as an agent that waits (a timer, ten times a second), and with one that starts processes as fast as it can,
 * watched as a run's sandbox is while a tool call is at work.
 */
const idle = Number(process.argv[2] ?? 25)
const seconds = Number(process.argv[3] ?? 20)

const cacheDir = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vm0')
const dataDir = await mkdtemp(join(tmpdir(), 'vm0-bench-'))
const installation = `b${randomBytes(2).toString('hex')}`
const { image: templateImage } = await ensureTemplate({ cacheDir })
const engine = await openOciEngine({ installation, dataDir, gatewayPort: 7301 })
const resources = { memoryMiB: 512, cpus: 2, diskMiB: 128, processes: 256 }

const printedMB = 200
const lineChars = 1_000
const printing = `import sys
line = "x" * ${lineChars - 1} + "\\n"
for _ in range(${(printedMB * 1e6) / lineChars}): sys.stdout.write(line)`

const waiting = 'import time\nwhile True: time.sleep(0.1)'
const busy = 'import subprocess\nwhile True: subprocess.run(["/bin/sh", "-c", "/bin/true; /bin/true"])'

async function start(program: string): Promise<{ sandbox: Sandbox; pid: number }> {
  const id = randomBytes(6).toString('hex')
  const sandbox = await engine.create({ id, templateImage, layers: [], resources, platformMounts: [] })
  const args = ['python3', '-c', program]
  const agent = await sandbox.spawn({ id: 'agent', args, env: {}, cwd: '/', maxOutputBytes: 1024 ** 2 })
  while (agent.pid() === undefined) await wait(10)
  return { sandbox, pid: agent.pid() as number }
}

/** What a program prints, read through its monitor as an agent's words are. */
async function read(): Promise<string> {
  const id = randomBytes(6).toString('hex')
  const sandbox = await engine.create({ id, templateImage, layers: [], resources, platformMounts: [] })
  const args = ['python3', '-c', printing]
  const startedMs = performance.now()
  const before = process.cpuUsage()
  const program = await sandbox.spawn({ id: 'agent', args, env: {}, cwd: '/', maxOutputBytes: 1024 ** 3 })
  let [lines, chars] = [0, 0]
  for await (const { text } of program.output()) {
    lines += 1
    chars += text.length + 1
  }
  const seconds = (performance.now() - startedMs) / 1000
  const { user, system } = process.cpuUsage(before)
  const whole = chars === printedMB * 1e6 ? 'all of it' : `ONLY ${chars} characters`
  return `${printedMB} MB that a program prints, in ${lines} lines: ${whole} read in ${seconds.toFixed(1)} s, ${((user + system) / 1e6).toFixed(1)} s of CPU`
}

/** Milliseconds of CPU per second, of this process. */
async function cost(): Promise<number> {
  const before = process.cpuUsage()
  await wait(seconds * 1000)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000 / seconds
}

try {
  const without = await cost()
  const quiet: Sandbox[] = []
  for (let index = 0; index < idle; index++) quiet.push((await start(waiting)).sandbox)
  await wait(3_000)
  const withIdle = await cost()
  await Promise.all(quiet.map((sandbox) => sandbox.freeze()))
  await wait(1_000)
  const withFrozen = await cost()
  const { sandbox, pid } = await start(busy)
  const watcher: SandboxWatcher = {
    agentPid: () => pid,
    wantsProcesses: () => true,
    onMemoryLimit: (met) => met.stop(),
  }
  sandbox.blackBox.watch(watcher)
  await wait(1_000)
  const withBusy = await cost()
  const printed = await read()
  const share = (msPerSecond: number): string => `${(msPerSecond / 10).toFixed(2)}%`
  console.log(`
The recorder's own CPU, of one core; ${seconds} s each, on ${availableParallelism()} cores, Linux ${release()}, Node ${process.version}

| | of one core |
|---|---|
| no sandbox | ${share(without)} |
| 100 that wait (measured with ${idle}) | ${share(((withIdle - without) / idle) * 100)} |
| the same, frozen | ${share(((withFrozen - without) / idle) * 100)} |
| one that starts processes without end, watched | ${share(withBusy - withFrozen)} |

${printed}`)
} finally {
  await engine.close()
  await rm(dataDir, { recursive: true, force: true })
}
