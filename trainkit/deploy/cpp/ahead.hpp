// Reading ahead: a thread makes ready what comes next while the last is being answered.

#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

const std::size_t AHEAD_BYTES = std::size_t(1) << 24;  // that wait: some dozens of small photographs, or one large one
const std::size_t AHEAD_ITEMS = 64;                     // that wait, however small they are

// Items on their way from one thread to another: so many as there is room for, but always one.
template <typename Item>
struct Shelf {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::pair<Item, std::size_t>> items;
    std::size_t bytes = 0;
    bool ended = false;

    // Adds an item as soon as there is room for it.
    void put(Item item, std::size_t size) {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [&] { return items.empty() || (items.size() < AHEAD_ITEMS && bytes + size <= AHEAD_BYTES); });
        items.emplace_back(std::move(item), size);
        bytes += size;
        changed.notify_all();
    }

    void end() {
        const std::lock_guard<std::mutex> lock(mutex);
        ended = true;
        changed.notify_all();
    }

    // Takes the first item as soon as there is one; false where there is none any more.
    bool take(Item& item) {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [&] { return ended || !items.empty(); });
        if (items.empty()) return false;
        item = std::move(items.front().first);
        bytes -= items.front().second;
        items.pop_front();
        changed.notify_all();
        return true;
    }
};

// Calls `read` in another thread, which hands on what it reads, and `use` in this one for each, in the same order.
// Neither may throw.
template <typename Item>
void readAhead(const std::function<void(const std::function<void(Item, std::size_t)>&)>& read,
               const std::function<void(Item&)>& use) {
    Shelf<Item> shelf;
    std::thread reader([&] {
        read([&](Item item, std::size_t size) { shelf.put(std::move(item), size); });
        shelf.end();
    });
    for (Item item = Item(); shelf.take(item); item = Item()) use(item);
    reader.join();
}
