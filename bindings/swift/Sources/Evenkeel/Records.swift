import EvenkeelFFI
import Foundation

/// A record of the app's own type.
public struct Record<Fields: Sendable>: Sendable, Identifiable {
  /// Names the record for ever.
  public let id: String
  /// The version that the server has; 0 where it has none.
  public let version: Int64
  /// When it was made.
  public let createdAt: Date
  /// When it was last written.
  public let updatedAt: Date
  /// What the app keeps in it.
  public var fields: Fields

  /// A record that the app had before there was a service, for ``Records/bootstrap(_:)``.
  public init(id: String, createdAt: Date, updatedAt: Date, fields: Fields) {
    (self.id, self.createdAt, self.updatedAt, self.fields) = (id, createdAt, updatedAt, fields)
    version = 0
  }

  init(_ stored: StoredRecord, fields: Fields) {
    (id, version, self.fields) = (stored.id, stored.version, fields)
    (createdAt, updatedAt) = (stored.createdAt, stored.updatedAt)
  }
}

extension Record: Equatable where Fields: Equatable {}
extension Record: Hashable where Fields: Hashable {}

/// A part of a list.
public struct Page<Fields: Sendable>: Sendable {
  /// The records of this type.
  public let items: [Record<Fields>]
  /// Those that are of another type: a store may hold several.
  public let others: [StoredRecord]
  /// A bookmark where the next page begins; nil where this is the last one.
  public let next: String?
}

/// The records of the client's store that are of one type.
///
/// The type's fields are the record's: it must be written as an object. Dates are milliseconds since 1970.
/// What is written is durable when the call returns, and sent when it can be. Everything throws ``DataError``,
/// and what encoding and decoding throw.
///
///     let notes = client.records(of: Note.self)
///     try await notes.put("n1", Note(text: "Buy milk"))
public struct Records<Fields: Codable & Sendable>: Sendable {
  let core: EvenkeelFFI.EvenkeelClient

  /// Writes a record as a whole: fields that the type does not have are removed. Settles a conflict over the
  /// record, and replaces a parked write to it.
  @discardableResult
  public func put(_ id: String, _ fields: Fields) async throws -> Write {
    let json = try text(fields)
    return try await translated { Write(core: try await core.put(id: id, json: json)) }
  }

  /// Writes a record, but leaves those of its fields alone that are not among the known ones: a later release
  /// of the app may have put them there. With coding keys that are `CaseIterable`:
  ///
  ///     try await notes.put("n1", note, known: Note.CodingKeys.allCases.map(\.stringValue))
  @discardableResult
  public func put(_ id: String, _ fields: Fields, known: [String]) async throws -> Write {
    let json = try text(fields)
    return try await translated { Write(core: try await core.putKnown(id: id, json: json, known: known)) }
  }

  /// Writes these fields and leaves the others as they are. `null` is a value.
  @discardableResult
  public func patch(_ id: String, _ some: some Encodable & Sendable) async throws -> Write {
    let json = try text(some)
    return try await translated { Write(core: try await core.patch(id: id, json: json)) }
  }

  /// Deletes a record. One that is not there is as good as deleted.
  @discardableResult
  public func delete(_ id: String) async throws -> Write {
    try await translated { Write(core: try await core.delete(id: id)) }
  }

  /// The record as the app sees it, with the local writes on top; nil where there is none.
  public func get(_ id: String) async throws -> Record<Fields>? {
    let stored = try await translated { try await core.get(id: id) }
    return try stored.map(record)
  }

  /// A part of the records as the app sees them, 1 to 1,000.
  ///
  /// - Parameter after: The bookmark of the page before.
  public func page(
    order: RecordOrder = .newestUpdate, limit: Int = 100, after: String? = nil
  ) async throws -> Page<Fields> {
    let query = ListQuery(order: order, limit: UInt32(clamping: limit), after: after)
    return page(try await translated { try await core.list(query: query) })
  }

  /// All records of this type, read page by page as they are asked for.
  public func all(order: RecordOrder = .newestUpdate) -> AsyncThrowingStream<Record<Fields>, any Error> {
    let walk = Walk<Fields> { try await page(order: order, limit: 500, after: $0) }
    return AsyncThrowingStream(unfolding: walk.next)
  }

  /// The record as the app sees it, now and each time it looks different. A slow reader skips some looks, but
  /// never the latest. Ends when its task is cancelled or the client closed, and throws where a look cannot be
  /// taken: then ask for another stream.
  public func observe(_ id: String) throws -> AsyncThrowingStream<Record<Fields>?, any Error> {
    let feed = try translated { try core.observe(id: id) }
    return pulled { try await feed.next().map { look in try look.record.map(record) } } cancel: { feed.cancel() }
  }

  /// A part of the records, now and each time it looks different; as ``observe(_:)``.
  public func observePage(
    order: RecordOrder = .newestUpdate, limit: Int = 100, after: String? = nil
  ) throws -> AsyncThrowingStream<Page<Fields>, any Error> {
    let query = ListQuery(order: order, limit: UInt32(clamping: limit), after: after)
    let feed = try translated { try core.observeList(query: query) }
    return pulled { try await feed.next().map(page) } cancel: { feed.cancel() }
  }

  /// Takes over what the app had before there was a service, once per store: an app can call it at each start.
  /// All of them or none.
  public func bootstrap(_ records: [Record<Fields>]) async throws -> Bootstrap {
    let imported = try records.map { record in
      ImportedRecord(
        id: record.id, createdAtMs: record.createdAt.ms, updatedAtMs: record.updatedAt.ms,
        json: try text(record.fields))
    }
    return try await translated { try await core.bootstrap(records: imported) }
  }

  func record(_ stored: StoredRecord) throws -> Record<Fields> {
    Record(stored, fields: try value(stored.json))
  }

  private func page(_ page: RecordPage) -> Page<Fields> {
    var (items, others) = ([Record<Fields>](), [StoredRecord]())
    let decoder = decoder()
    items.reserveCapacity(page.items.count)
    for stored in page.items {
      if let fields = try? decoder.decode(Fields.self, from: Data(stored.json.utf8)) {
        items.append(Record(stored, fields: fields))
      } else {
        others.append(stored)
      }
    }
    return Page(items: items, others: others, next: page.next)
  }
}

extension EvenkeelClient {
  /// The records that are of this type.
  public func records<Fields: Codable & Sendable>(of type: Fields.Type) -> Records<Fields> {
    Records(core: core)
  }
}

/// A local write that is durable.
public struct Write: Sendable {
  let core: WriteHandle

  /// The server's verdict, however long that takes. It may be asked for again, and to cancel the task that waits
  /// changes nothing about the write.
  ///
  /// - Throws: ``DataError/closed`` where none will come.
  public func verdict() async throws -> Verdict {
    try await cancellable { try await core.verdict(cancel: $0) }
  }
}

/// From page to page.
private actor Walk<Fields: Sendable> {
  private let load: @Sendable (String?) async throws -> Page<Fields>
  private var rest: ArraySlice<Record<Fields>> = []
  private var after: String?
  private var last = false

  init(_ load: @escaping @Sendable (String?) async throws -> Page<Fields>) {
    self.load = load
  }

  func next() async throws -> Record<Fields>? {
    while rest.isEmpty {
      if last { return nil }
      try Task.checkCancellation()
      let page = try await load(after)
      (rest, after, last) = (page.items[...], page.next, page.next == nil)
    }
    return rest.removeFirst()
  }
}
