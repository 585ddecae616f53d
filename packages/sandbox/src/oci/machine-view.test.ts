import fc from 'fast-check'
import { expect, test } from 'vitest'
import { cpuInfo, cpusOfSlot, cpuStatistics, memoryInfo, parseCpuList } from './machine-view.js'

test('a sandbox gets as many whole CPUs as its quota needs, never one that the platform may not use', () => {
  const hosts = fc.uniqueArray(fc.nat({ max: 255 }), { minLength: 1, maxLength: 64 })
  fc.assert(
    fc.property(
      fc.nat({ max: 31_999 }),
      fc.double({ min: 0.1, max: 256, noNaN: true }),
      hosts,
      (slot, cpus, allowed) => {
        const own = cpusOfSlot(slot, cpus, allowed)
        expect(own.length).toBe(Math.min(Math.ceil(cpus), allowed.length))
        expect(new Set(own).size).toBe(own.length)
        expect(own.every((cpu) => allowed.includes(cpu))).toBe(true)
      },
    ),
  )
})

test('as many sandboxes as there are CPUs use each of them equally', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 1, max: 64 }),
      fc.nat({ max: 1000 }),
      (count, cpus, first) => {
        const allowed = Array.from({ length: count }, (_, index) => index)
        const uses = new Map<number, number>()
        for (let slot = first; slot < first + count; slot++)
          for (const cpu of cpusOfSlot(slot, cpus, allowed)) uses.set(cpu, (uses.get(cpu) ?? 0) + 1)
        expect(Math.max(...uses.values()) - Math.min(...uses.values())).toBe(0)
      },
    ),
  )
})

test('lists of CPUs are read as the kernel writes them', () => {
  expect(parseCpuList('0-2,5\n')).toEqual([0, 1, 2, 5])
  expect(parseCpuList('7')).toEqual([7])
  expect(parseCpuList('\n')).toEqual([])
})

test('what is left of the host in /proc/cpuinfo and /proc/stat belongs to the CPUs of the sandbox', () => {
  const info = [0, 1, 2].map((cpu) => `processor\t: ${cpu}\nmodel name\t: X\n\n`).join('')
  expect(cpuInfo(info, [0, 2]).match(/^processor.*/gm)).toEqual(['processor\t: 0', 'processor\t: 2'])
  const stat = 'cpu  9 9\ncpu0 1 2 3\ncpu1 4 5 6\ncpu10 7 8 9\nintr 99\nbtime 5\nprocesses 77\n'
  expect(cpuStatistics(stat, [1])).toBe('cpu 0 0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nbtime 5\n')
  expect(memoryInfo(512 * 1024 ** 2)).toMatch(/^MemTotal: +524288 kB\n/)
})
