import { z } from 'zod'
import { maxParts, type ChunkListRequest, type FilePatch, type FileRanges } from './file-patch.js'
import { maxBuckets, type FolderComparison } from './folder-sync.js'

/** The first line of a request to compare folders. */
export const folderComparisonSchema: z.ZodType<FolderComparison> = z.strictObject({
  v: z.literal(1),
  buckets: z.int().min(1).max(maxBuckets),
  rules: z.array(z.strictObject({ folder: z.string().max(4096), text: z.string().max(1_000_000) })).max(10_000),
  ownRules: z.boolean(),
})

const hexDigest = z.string().regex(/^[0-9a-f]{64}$/)
const position = z.int().min(0)
const length = z.int().min(1)

/** The body of a request for the pieces of a file. */
export const chunkListRequestSchema: z.ZodType<ChunkListRequest> = z.strictObject({
  v: z.literal(1),
  expected: hexDigest.optional(),
})

/** The first line of a request to make a file from parts. */
export const filePatchSchema: z.ZodType<FilePatch> = z
  .strictObject({
    v: z.literal(1),
    digest: hexDigest,
    sizeBytes: position,
    mode: z.int().min(0).max(0o777),
    modifiedMs: z.number().min(0).max(8.64e15),
    fromBytes: position,
    parts: z
      .array(z.union([z.tuple([z.literal('here'), length]), z.tuple([z.literal('there'), length, position])]))
      .max(maxParts),
  })
  .refine(({ sizeBytes, fromBytes, parts }) => parts.reduce((sum, [, bytes]) => sum + bytes, fromBytes) === sizeBytes, {
    error: 'the parts and what has arrived make another size',
  })

/** The body of a request for parts of a file. */
export const fileRangesSchema: z.ZodType<FileRanges> = z.strictObject({
  v: z.literal(1),
  ranges: z
    .array(z.tuple([position, length]))
    .min(1)
    .max(maxParts),
})
