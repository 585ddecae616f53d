import { spawn as fork } from 'node:child_process'
import { once } from 'node:events'
import { spawn } from '@vm0/process'
import { median } from './statistics.js'

/**
 * What it costs to start a program, and how long nothing else happens meanwhile: by node:child_process and by
 * @vm0/process, in turn, as this process grows. Arguments: samples (40), sizes in MiB (0 100 300).
 */
const samples = Number(process.argv[2] ?? 40)
const sizes = process.argv.length > 3 ? process.argv.slice(3).map(Number) : [0, 100, 300]

const ballast: Buffer[] = []
const ways = { 'node:child_process': fork as never as typeof spawn, '@vm0/process': spawn }

console.log('| resident | by | stands still, p50 ms | to its end, p50 ms |\n|---|---|---|---|')
for (const size of sizes) {
  while (ballast.length < size) ballast.push(Buffer.alloc(1024 ** 2, 1))
  const measured = new Map(Object.keys(ways).map((name) => [name, { still: [] as number[], whole: [] as number[] }]))
  for (let sample = 0; sample < samples; sample++)
    for (const [name, start] of Object.entries(ways)) {
      const begunMs = performance.now()
      const child = start('true', [], { stdio: 'ignore' })
      const startedMs = performance.now()
      await once(child, 'exit')
      const { still, whole } = measured.get(name)!
      still.push(startedMs - begunMs)
      whole.push(performance.now() - begunMs)
    }
  const resident = Math.round(process.memoryUsage.rss() / 1024 ** 2)
  for (const [name, { still, whole }] of measured)
    console.log(`| ${resident} MiB | ${name} | ${median(still).toFixed(2)} | ${median(whole).toFixed(2)} |`)
}
