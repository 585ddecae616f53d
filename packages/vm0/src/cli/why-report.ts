import type { Report, Why } from '@vm0/contract/client'
import { byteCount, duration } from './format.js'
import { printableLine } from './printable.js'
import { dim, red } from './style.js'

const bars = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
const shownProcesses = 6
const shownFiles = 8
const commandWidth = 70

/** The sandbox as it was recorded: memory over time, the largest processes, what they waited for, what was not saved. */
export function reportLines(report: NonNullable<Why['report']>): string[] {
  const { scene, blamed, uncommitted } = report
  const { memory, cpu, disk, processCount, processLimit } = scene
  return [
    ...curveLines(scene),
    [
      `memory ${byteCount(memory.usedBytes)} of ${byteCount(memory.limitBytes)} (peak ${byteCount(memory.peakBytes)})`,
      `${processCount} of ${processLimit} tasks`,
      `cpu ${Math.round(cpu.share * 100)}%`,
      `disk ${byteCount(disk.usedBytes)} of ${byteCount(disk.totalBytes)}`,
    ].join('   '),
    ...processLines(report),
    ...(blamed && blamed.openFiles.paths.length > 0
      ? [
          dim(
            `open (${blamed.openFiles.count}): ${printableLine(blamed.openFiles.paths.slice(0, shownFiles).join(' '))}`,
          ),
        ]
      : []),
    ...report.unanswered.map((address) => `nobody answers at ${printableLine(address)}`),
    ...(uncommitted.paths.length > 0 ? [dim(`not in a checkpoint then: ${filesOf(report)}`)] : []),
  ]
}

function filesOf({ uncommitted: { paths, more } }: Report): string {
  const rest = Math.max(0, paths.length - shownFiles) + more
  return printableLine(`${paths.slice(0, shownFiles).join(' ')}${rest > 0 ? ` and ${rest} more` : ''}`)
}

function curveLines({ memoryCurve, memory }: Report['scene']): string[] {
  if (memoryCurve.length < 2 || memory.limitBytes === 0) return []
  const line = memoryCurve
    .map(({ bytes }) => bars[Math.max(0, Math.min(7, Math.floor((bytes / memory.limitBytes) * 8)))])
    .join('')
  return [`${line} ${dim(`memory over the last ${duration(memoryCurve[0]?.beforeMs ?? 0)}`)}`]
}

function processLines({ scene, blamed, waiting }: Report): string[] {
  const places = new Map(waiting.map(({ process, place }) => [process.pid, place]))
  return scene.processes.slice(0, shownProcesses).map(({ pid, state, rssBytes, grewBytes, cpuMs, command }) => {
    const mark = blamed?.process.pid === pid ? red('✗') : ' '
    const grew = grewBytes > 0 ? `+${byteCount(grewBytes)}/min` : ''
    const place = places.get(pid)
    const figures = [
      byteCount(rssBytes).padStart(10),
      grew.padStart(15),
      duration(cpuMs).padStart(8),
      printableLine(state),
    ]
    return `${mark} ${figures.join(' ')}  ${printableLine(command, commandWidth)}${place ? dim(` in ${printableLine(place)}`) : ''}`
  })
}
