// What the errors say, and what there is to do.

private typealias Said = (what: String, advice: String)

private let wasClosed: Said = ("The client is closed", "Open another one.")
private let isSuspended: Said = ("The client is suspended", "Resume it first.")

private func fault(_ reason: String) -> Said {
  ("A fault in the library: \(reason)", "Report it, with the client's diagnostics.")
}

extension OpenError {
  public var what: String { said.what }
  public var advice: String { said.advice }

  private var said: Said {
    switch self {
    case .url(let reason):
      ("The service's URL is not usable: \(reason)", "Give one with https, without user, query and fragment.")
    case .deviceId: ("The device id is not a UUID", "Give none, and one is made.")
    case .setting(let name, let reason): ("Setting \(name): \(reason)", "Correct it, or leave it out.")
    case .certificate(let reason):
      ("An extra root certificate cannot be used: \(reason)", "Check that it is PEM and whole.")
    case .proxy: ("The proxy cannot be used", "Correct it; a loopback service needs none.")
    case .network(let reason):
      ("The network cannot be set up: \(reason)", "Check that the system has root certificates.")
    case .stateCorrupt(let path, let reason):
      ("\(path) is not readable as ours: \(reason)", "Look at it; without it this is a new device.")
    case .stateUnusable(let path, let reason):
      ("\(path) cannot be read or written: \(reason)", "Give another state folder, or make room or rights.")
    case .wrongAccount:
      ("The store belongs to another account", "Open another file, or sign that account out with a wipe first.")
    case .notAStore(let path): ("\(path) is not a store", "Choose another path.")
    case .newerStore(let found, let known):
      ("The store has format \(found), this release knows up to \(known)", "Ask the user to update the app.")
    case .storeCorrupt(let reason):
      ("The store is damaged: \(reason)", "Call recoverStore: it saves what the app wrote.")
    case .storeBusy: ("The store is in use elsewhere", "Try again.")
    case .storeFull: ("No room is left for the store", "Ask the user to make some.")
    case .storeUnusable(let path, let reason):
      ("\(path) cannot be opened: \(reason)", "Look at its folder and rights.")
    case .internal(let reason): fault(reason)
    }
  }
}

extension ClientError {
  public var what: String { said.what }
  public var advice: String { said.advice }

  private var said: Said {
    switch self {
    case .closed: wasClosed
    case .unfinished(let left):
      ("Still under way at the deadline: \(left.joined(separator: ", "))", "Nothing to do: it ends by itself.")
    case .internal(let reason): fault(reason)
    }
  }
}

extension DataError {
  public var what: String { said.what }
  public var advice: String { said.advice }

  private var said: Said {
    switch self {
    case .outboxFull(let kept):
      ("The outbox is full with \(kept) writes", "Wait until some are sent, or have the user decide some.")
    case .id: ("A record's id must have 1 to 128 characters", "Correct it.")
    case .notFound: ("There is nothing of that kind by this id", "Look again what there is.")
    case .json(let reason): ("Not readable: \(reason)", "Give an object, or a bookmark as a page gave it.")
    case .full: ("No room is left for the store", "Ask the user to make some.")
    case .corrupt(let reason):
      ("The store is damaged: \(reason)", "Close the client, and call recoverStore: it saves what the app wrote.")
    case .closed: wasClosed
    case .suspended: isSuspended
    case .busy: ("Another process keeps the store busy", "Try again.")
    case .internal(let reason): fault(reason)
    }
  }
}

extension SyncOnceError {
  public var what: String { said.what }
  public var advice: String { said.advice }

  private var said: Said {
    switch self {
    case .deadline: ("Not up to date within the time given", "What came stays; try at the next occasion.")
    case .failed(let status):
      ("Not up to date: \(status.cause.map { "\($0)" } ?? "the app is asked")", "See what the status asks for.")
    case .interrupted: ("The client was stopped or suspended meanwhile", "Try at the next occasion.")
    case .closed: wasClosed
    case .internal(let reason): fault(reason)
    }
  }
}

extension RequestError {
  public var what: String { said.what }
  public var advice: String { said.advice }

  private var said: Said {
    switch self {
    case .suspended: isSuspended
    case .held(let wait): ("The service asked to be left alone", "Ask again in \(wait).")
    case .failed(let failure): (failure.text, "See the cause: \(failure.cause), at the \(failure.layer).")
    case .closed: wasClosed
    case .internal(let reason): fault(reason)
    }
  }
}

extension AiError {
  public var what: String { said.what }
  public var advice: String { said.advice }

  private var said: Said {
    switch self {
    case .notConnected: ("No AI provider is connected", "Ask the user for a key, and connect.")
    case .held(let wait, let cause): ("AI is to be left alone: \(cause)", "Ask again in \(wait).")
    case .failed(let failure, _): (failure.text, "See the cause: \(failure.cause), at the \(failure.layer).")
    case .closed: wasClosed
    case .internal(let reason): fault(reason)
    }
  }
}
