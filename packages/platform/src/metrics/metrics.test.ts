import fc from 'fast-check'
import { expect, test } from 'vitest'
import { boundedLabel, otherValues } from './bounded-label.js'
import { memoryOf, pressureOf } from './host-metrics.js'
import { addressOf } from './metrics-server.js'

test('a label has so many values and no more, whatever comes; a value that it has stays as it is', () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { maxLength: 200 }), fc.integer({ min: 1, max: 20 }), (values, max) => {
      const label = boundedLabel(max)
      const told = values.map(label)
      expect(new Set(told.filter((value) => value !== otherValues)).size).toBeLessThanOrEqual(max)
      expect(values.map(label)).toEqual(told)
      for (const value of told) expect(value).toMatch(/^[\x20-\x7e]{0,64}$/)
    }),
  )
  const label = boundedLabel(2)
  expect(['a', 'b', 'c', 'a', `x${'\u001b'}`].map(label)).toEqual(['a', 'b', 'other', 'a', 'other'])
})

test('memory and pressure are read from what the kernel tells; what it does not tell is left out', () => {
  expect(memoryOf('MemTotal:       16303428 kB\nMemFree: 1 kB\nMemAvailable:   8000000 kB\n')).toEqual({
    total: 16_694_710_272,
    available: 8_192_000_000,
  })
  expect(memoryOf('')).toEqual({ total: undefined, available: undefined })
  const text = 'some avg10=12.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n'
  expect(pressureOf(text)).toEqual([
    ['some', 0.125],
    ['full', 0],
  ])
  expect(pressureOf('')).toEqual([])
})

test('an address of the metrics is a port, or a host with one', () => {
  expect(addressOf('9464')).toEqual({ host: '127.0.0.1', port: 9464 })
  expect(addressOf('0.0.0.0:9464')).toEqual({ host: '0.0.0.0', port: 9464 })
  expect(addressOf('[::1]:0')).toEqual({ host: '::1', port: 0 })
  for (const wrong of ['', 'x', ':1', '1.2.3.4', '127.0.0.1:99999', 'http://a:1'])
    expect(() => addressOf(wrong)).toThrow('expected an address and a port')
})
