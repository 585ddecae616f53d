import { archiveAnnotation, archivedSessionSchema, archiveVersion, Vm0Error, type ArchivedSession } from '@vm0/contract'
import { parse, readImage, type ImageLayer, type Schema } from './read-image.js'
import type { ReceivedFiles } from './receive-archive.js'

export type IncomingLayer = ImageLayer

export interface IncomingArchive {
  about: ArchivedSession
  /** The template, unless it was left out. */
  base: IncomingLayer | undefined
  /** The session's own, the oldest first. */
  over: IncomingLayer[]
}

/** An overlay of many more can't be mounted. */
const maxLayers = 64

/** What the files of a layout say of a session; each is compared with its schema. */
export async function readArchive(files: ReceivedFiles): Promise<IncomingArchive> {
  const { annotations, layers } = await readImage(files, 'session')
  const about = aboutOf(annotations[archiveAnnotation])
  if (layers.length > maxLayers)
    throw new Vm0Error('ARCHIVE_INVALID', `the session has ${layers.length} layers; expected at most ${maxLayers}`)
  if (!about.templateIncluded) return { about, base: undefined, over: layers }
  const [base, ...over] = layers
  if (!base) throw new Vm0Error('ARCHIVE_INVALID', 'the image has no layers; expected the template and those over it')
  return { about, base, over }
}

function aboutOf(annotation: string | undefined): ArchivedSession {
  if (annotation === undefined)
    throw new Vm0Error('ARCHIVE_INVALID', `the image is no session: it lacks the annotation ${archiveAnnotation}`)
  const { v } = parse('the annotation', annotation, anyVersion)
  if (v > archiveVersion)
    throw new Vm0Error(
      'VERSION_UNSUPPORTED',
      `the session was exported in the version ${v}; expected at most ${archiveVersion}`,
    )
  return parse('the annotation', annotation, archivedSessionSchema)
}

const anyVersion: Schema<{ v: number }> = {
  safeParse: (value) => {
    const { v } = (value ?? {}) as { v?: unknown }
    return typeof v === 'number'
      ? { success: true, data: { v } }
      : { success: false, error: { message: 'it has no version' } }
  },
}
